"""Calls a second for each way of knowing the caller, one beside the other: `python -m bench.identity`.

A service of the kit whose method does nothing, in a process of its own, and a client of the kit: interceptors, policy and
deadline are those of the mesh, so what differs between the rows is the proof alone. The rounds take turns, and each row is the
median of its rounds; compare the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshkit import lifecycle, logging
from meshkit.forwarded import HEADER
from meshkit.kit import Kit
from meshkit.policy import OPERATOR
from meshkit.settings import KitSettings
from meshkit.spec import Registration, ServiceSpec
from meshkit.spiffe import DEFAULT_PREFIX, SpiffeNames
from supervisor.certificate_files import CertificateFiles
from supervisor.certificates import ensure_certificates
from supervisor.identities import IdentityFiles, ensure_identities
from tradekit.services import RISK
from trading.risk.v1 import risk_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2_grpc as rpc

WAYS = ("off", "token", "mtls", "xfcc")
CALLERS = (1, 8)


class Nothing(rpc.RiskServiceServicer):
    """Answers with nothing; the other methods are not called."""

    async def GetLimits(self, request: pb.GetLimitsRequest, context: Any) -> pb.GetLimitsResponse:
        return pb.GetLimitsResponse()

    AssessRecommendation = GetPortfolioRisk = SetTradingState = StreamAssessments = GetLimits  # type: ignore[assignment]


def settings_of(way: str, identity: str, folder: Path) -> KitSettings:
    """What a process with this identity is given."""
    tokens, certificates = IdentityFiles(folder / "tokens"), CertificateFiles(folder / "certificates")
    given: dict[str, dict[str, Path]] = {
        "token": {"mesh_token_file": tokens.token(identity), "mesh_callers_file": tokens.callers},
        "mtls": {
            "mesh_certificate_file": certificates.certificate(identity),
            "mesh_ca_file": certificates.authority,
        },
    }
    return KitSettings.model_validate({"service_name": identity, "port": 0, "mesh_auth": way, **given.get(way, {})})


async def serve(way: str, folder: Path) -> None:
    """Serves until its standard input ends; says its port in a line."""

    def build(_: KitSettings, __: Kit[Any]) -> ServiceSpec:
        return ServiceSpec([Registration(rpc.add_RiskServiceServicer_to_server, Nothing(), RISK.full_name)])

    service = await lifecycle.create(settings_of(way, RISK.name, folder), build)

    def started(running: lifecycle.Service) -> None:
        print(json.dumps(running.port), flush=True)

    task = asyncio.ensure_future(service.run(started))
    await asyncio.to_thread(sys.stdin.read)
    service.stop()
    service.stop()
    await task


@dataclass
class Row:
    """Calls a second of one way, by number of callers at once."""

    rates: dict[int, list[float]] = field(default_factory=lambda: {callers: [] for callers in CALLERS})

    def rate(self, callers: int) -> float:
        return statistics.median(self.rates[callers])


async def rate(stub: Any, callers: int, seconds: float, metadata: Sequence[tuple[str, str]]) -> float:
    """Calls a second of so many callers, each of which waits for its answer before it calls again."""
    end, made = time.monotonic() + seconds, 0

    async def one() -> None:
        nonlocal made
        while time.monotonic() < end:
            await stub.GetLimits(pb.GetLimitsRequest(), timeout=5, metadata=metadata)
            made += 1

    begun = time.monotonic()
    await asyncio.gather(*(one() for _ in range(callers)))
    return made / (time.monotonic() - begun)


async def measure(folder: Path, rounds: int, seconds: float) -> dict[str, Row]:
    """Every way in turn, as often as there are rounds."""
    servers = {way: _server(way, folder) for way in WAYS}
    kits: list[Kit[Any]] = []
    rows = {way: Row() for way in WAYS}
    # The client proves itself as the settings say; behind a sidecar that is the sidecar's to do, here the header stands in.
    forwarded = ((HEADER, f'By={DEFAULT_PREFIX}risk;Hash={"0" * 64};Subject="";URI={DEFAULT_PREFIX}{OPERATOR}'),)
    try:
        stubs = {}
        for way, server in servers.items():
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())
            kits.append(Kit(settings_of(way, OPERATOR, folder)))
            stubs[way] = rpc.RiskServiceStub(kits[-1].channel(f"127.0.0.1:{port}", RISK.full_name))
        for turn in range(rounds + 1):
            for way in WAYS:
                for callers in CALLERS:
                    found = await rate(stubs[way], callers, seconds, forwarded if way == "xfcc" else ())
                    if turn:  # the first warms up
                        rows[way].rates[callers].append(found)
    finally:
        for kit in kits:
            await kit.close()
        for server in servers.values():
            server.communicate(timeout=30)
    return rows


def _server(way: str, folder: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "bench.identity", "--serve", way, str(folder)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ})


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--serve", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    logging.configure("error", "json")
    if chosen.serve:
        asyncio.run(serve(chosen.serve[0], Path(chosen.serve[1])))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, names = Path(name), [RISK.name, OPERATOR]
        ensure_identities(IdentityFiles(folder / "tokens"), names)
        ensure_certificates(CertificateFiles(folder / "certificates"), names, SpiffeNames(), datetime.now(UTC))
        rows = asyncio.run(measure(folder, chosen.rounds, chosen.seconds))
    print("| how callers are known | 1 caller, calls/s | ratio | 8 callers, calls/s | ratio |\n|---|--:|--:|--:|--:|")
    for way, row in rows.items():
        cells = (f"{row.rate(n):,.0f} | {row.rate(n) / rows['off'].rate(n):.2f}" for n in CALLERS)
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
