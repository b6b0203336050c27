"""One caller's calls to a service, directly and through two Envoys in turn: `python -m bench.envoy [--calls 3000] [--runs 2]`.

Caller, both Envoys and the service are four processes; the Envoys are configured from the manifests in istio/, so calls are
mutual TLS, checked against the policies and led by the routes. Processor time of the Envoys is what a busy machine does not
stretch.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from envoy_mesh.latency import Latencies, measured, quantile
from envoy_mesh.plan import HOST
from envoy_mesh.process import EnvoyMissing
from envoy_mesh.rig import Rig, running_rig
from rich.console import Console
from rich.table import Table

from tradekit.services import RISK

PATH = f"/{RISK.full_name}/GetLimits"
REQUEST = bytes(1000)
TARGET_MS = 3.0


@contextmanager
def service_at(port: int) -> Iterator[None]:
    """The called service, until the block ends."""
    command = [sys.executable, "-m", "bench.envoy.upstream", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("the called service did not start")
        yield
        process.stdin.close()


async def run(rig: Rig, calls: int) -> Latencies:
    """As many calls each way."""
    async with grpc.aio.insecure_channel(f"{HOST}:{rig.app}") as direct, rig.channel(RISK) as mesh:
        call: Any = direct.unary_unary(PATH)
        through: Any = mesh.unary_unary(PATH)
        return await measured(lambda: call(REQUEST, timeout=20), lambda: through(REQUEST, timeout=20), calls)


def seconds(rig: Rig) -> float:
    """Processor time of both Envoys so far."""
    times = [psutil.Process(one.process.pid).cpu_times() for one in (rig.caller, rig.called)]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """A row for each run; says so and ends where there is no Envoy for this machine."""
    parser = argparse.ArgumentParser(prog="python -m bench.envoy")
    parser.add_argument("--calls", type=int, default=3000, help="calls each way in a run")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    table = Table("run", "direct p50", "p99", "Envoys p50", "p99", "added p50", "CPU", "")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-envoy-") as folder,
            running_rig(Path(folder)) as rig,
            service_at(rig.app),
        ):
            for number in range(options.runs):
                before = seconds(rig)
                found = asyncio.run(run(rig, options.calls))
                table.add_row(str(number + 1), *cells(found, seconds(rig) - before))
    except EnvoyMissing as missing:
        Console().print(f"Nothing was measured: {missing}")
        return
    Console().print(table, "ms; one caller, 1 kB each way; CPU is that of both Envoys for a call")


def cells(found: Latencies, processor: float) -> list[str]:
    """One run in milliseconds."""
    figures = [quantile(one, share) for one in (found.direct, found.mesh) for share in (0.5, 0.99)]
    shown = [*figures, found.added_p50, processor / len(found.mesh)]
    met = "met" if found.added_p50 * 1000 <= TARGET_MS else f"above {TARGET_MS:g} ms"
    return [*(f"{one * 1000:.2f}" for one in shown), met]


if __name__ == "__main__":
    main()
