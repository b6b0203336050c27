"""How many statements and transactions a recommendation costs from its proposal to its filled order, by service.

The whole mesh as processes, as its users start it, with a PostgreSQL that logs every statement with the name of who sent it.
An operator's entries and then exits are carried out one after the other. Services also work while nobody asks anything of
them (polls, leases, reconciliations, the page): that is counted while the mesh rests and taken off by the time that passed.
"""

import argparse
import asyncio
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.live_mesh import LiveMesh, live_mesh
from tradekit import ids, services
from tradekit.services import SERVICES
from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc

# As many as the simulated market generates.
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD", "DOGE-USD")
SETTINGS = {"RISK_ORDERS_PER_MINUTE": "1000", "RISK_PRODUCT_ORDERS_PER_MINUTE": "1000"}
REST_SECONDS = 20.0
ENDED_SECONDS = 60.0
BEGINS = re.compile(r"begin\b", re.IGNORECASE)
ENDS = re.compile(r"(?:commit|rollback)\b", re.IGNORECASE)
LINE = re.compile(r"^(\w*)\|(\d+)\|LOG:  (?:statement|execute [^:]*): (.*)$")


@dataclass
class Counts:
    """By service: statements that do something, transactions with any, and pings: transactions without, of three round trips,
    by which a pool proves a connection before it lends it."""

    statements: Counter[str] = field(default_factory=Counter)
    transactions: Counter[str] = field(default_factory=Counter)
    pings: Counter[str] = field(default_factory=Counter)
    texts: Counter[tuple[str, str]] = field(default_factory=Counter)


def counted(log: str) -> Counts:
    """What a part of the server's log holds."""
    found = Counts()
    empty: dict[str, bool] = {}
    lines = log.splitlines()
    for number, line in enumerate(lines):
        match = LINE.match(line)
        if match is None:
            continue
        service, session, text = match.groups()
        if BEGINS.match(text):
            empty[session] = True
        elif ENDS.match(text):
            kind = found.pings if empty.pop(session, False) else found.transactions
            kind[service] += 1
        else:
            empty[session] = False
            found.statements[service] += 1
            # A text that begins with a new line goes on in the next one.
            shown = text.strip() or next(iter(lines[number + 1 :]), "")
            found.texts[service, shown.strip()[:110]] += 1
    return found


@dataclass(frozen=True)
class Phase:
    """A part of the run: what was counted, how long it took, and how many recommendations were executed in it."""

    counts: Counts
    seconds: float
    executed: int = 0

    def per_item(self, kind: str, service: str, rest: "Phase") -> float:
        """Per executed recommendation, less what the service does at rest."""
        at_rest = getattr(rest.counts, kind)[service] / rest.seconds * self.seconds
        return float((getattr(self.counts, kind)[service] - at_rest) / self.executed)


class Log:
    """The server's log, read in parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size
        self._since = time.monotonic()

    def part(self, executed: int = 0) -> Phase:
        """What was written since the last part."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read().decode(errors="replace")
            self._at = file.tell()
        began, self._since = self._since, time.monotonic()
        return Phase(counted(text), self._since - began, executed)


async def measured(mesh: LiveMesh) -> tuple[Phase, Phase, Phase]:
    """At rest, while entries are carried out, and while exits are."""
    async with mesh.database() as connection, mesh.channel(services.BRIDGE) as channel:
        for setting in ("log_line_prefix = '%a|%p|'", "log_statement = 'all'"):
            await connection.execute(f"ALTER SYSTEM SET {setting}")
        await connection.execute("SELECT pg_reload_conf()")
        stub = bridge_grpc.BridgeServiceStub(channel)
        await asyncio.sleep(2.0)
        log = Log(mesh.plan.home.log_file("postgres"))
        await asyncio.sleep(REST_SECONDS)
        rest = log.part()
        parts = []
        for side in ("SIDE_BUY", "SIDE_SELL"):
            log.part()
            for product in PRODUCTS:
                await carried_out(connection, stub, product, side)
            # What follows an end, as watchers and the next reconciliation, belongs to it.
            await asyncio.sleep(3.0)
            parts.append(log.part(len(PRODUCTS)))
    return rest, parts[0], parts[1]


async def carried_out(connection: Any, stub: Any, product: str, side: str) -> None:
    """One recommendation to its end; RuntimeError if that is not a filled order."""
    request = bridge.CreateRecommendationRequest(
        request_id=str(ids.new_request_id()), product_id=product, side=side, note="bench"
    )
    made = await stub.CreateRecommendation(request, timeout=30)
    item = UUID(made.record.recommendation.recommendation_id)
    query = "SELECT state, reasons FROM trade_recommendations WHERE recommendation_id = $1"
    async with asyncio.timeout(ENDED_SECONDS):
        while True:
            row = await connection.fetchrow(query, item)
            if row["state"] not in ("PROPOSED", "IN_REVIEW", "EXECUTING"):
                break
            await asyncio.sleep(0.05)
    if row["state"] != "EXECUTED":
        raise RuntimeError(f"{side} {product} ended {row['state']}: {row['reasons']}")


def table(rest: Phase, entries: Phase, exits: Phase) -> list[dict[str, float | str]]:
    """A line per service that works on recommendations, and their sum."""
    lines: list[dict[str, float | str]] = []
    for service in SERVICES:
        line: dict[str, float | str] = {"service": service.name}
        for name, phase in (("entry", entries), ("exit", exits)):
            for kind in ("statements", "transactions", "pings"):
                line[f"{name}_{kind}"] = round(phase.per_item(kind, service.name, rest), 1)
        line["rest_statements_per_second"] = round(rest.counts.statements[service.name] / rest.seconds, 1)
        lines.append(line)
    total = {key: round(sum(float(line[key]) for line in lines), 1) for key in lines[0] if key != "service"}
    return [*lines, {"service": "all", **total}]


def show(lines: list[dict[str, float | str]]) -> None:
    print(f"{'':14}{'entry':>30}{'exit':>30}{'at rest':>12}")
    print(f"{'':14}" + f"{'statements':>12}{'trans.':>10}{'pings':>8}" * 2 + f"{'stmts/s':>12}")
    for line in lines:
        print(
            f"{line['service']:14}{line['entry_statements']:>12}{line['entry_transactions']:>10}{line['entry_pings']:>8}"
            f"{line['exit_statements']:>12}{line['exit_transactions']:>10}{line['exit_pings']:>8}"
            f"{line['rest_statements_per_second']:>12}"
        )


def show_texts(entries: Phase, exits: Phase, rest: Phase, only: str) -> None:
    """Each statement of a service by how often it is sent per recommendation, without what it sends at rest."""
    for name, phase in (("entry", entries), ("exit", exits)):
        print(f"\n{only}, {name}:")
        for (service, text), count in phase.counts.texts.most_common():
            if service == only:
                at_rest = rest.counts.texts[service, text] / rest.seconds * phase.seconds
                print(f"{(count - at_rest) / phase.executed:8.1f}  {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    parser.add_argument("--texts", metavar="SERVICE", help="show the statements of one service too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-mesh-") as folder:
        Path(folder).chmod(0o755)
        with live_mesh(Path(folder), PRODUCTS, SETTINGS) as mesh:
            rest, entries, exits = asyncio.run(measured(mesh))
    lines = table(rest, entries, exits)
    show(lines)
    if options.texts:
        show_texts(entries, exits, rest, options.texts)
    if options.json:
        figures: Mapping[str, Any] = {"per_executed_recommendation": lines}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
