"""How many statements and transactions a recommendation costs, by service, from the log of a PostgreSQL that logs them all.

Logging slows everything down, so this is a phase of its own with few items. Services also work while nobody asks anything
of them (polls, leases, reconciliations, the page): that is counted while the mesh rests and taken off by the time that
passed. Entries and exits are carried out one after the other; what a load at a pace costs, `cost.py` counts the same way.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from bench.pipeline.mesh import PRODUCTS, Bench, BenchFailed
from bench.pipeline.statement_log import PREFIX, Part, StatementCounter
from tradekit import ids
from tradekit.services import SERVICES
from trading.bridge.v1 import bridge_service_pb2 as bridge

REST_SECONDS = 20.0
ENDED_SECONDS = 60.0
# What follows an end, as watchers and the next reconciliation, belongs to it.
AFTER_SECONDS = 3.0
_LOG_SETTINGS = ("log_line_prefix", "log_statement")

Line = dict[str, float | str]


class StatementLog:
    """The server's log, read in parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size
        self._since = time.monotonic()
        self._counter = StatementCounter()

    def part(self, executed: int = 0) -> Part:
        """What was written since the last part."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read().decode(errors="replace")
            self._at = file.tell()
        began, self._since = self._since, time.monotonic()
        return Part(self._counter.counted(text), self._since - began, executed)


@asynccontextmanager
async def statements_logged(bench: Bench) -> AsyncIterator[StatementLog]:
    """While it lasts, the server logs every statement with the name of who sent it."""
    for setting in (f"log_line_prefix = '{PREFIX}'", "log_statement = 'all'"):
        await bench.rows.execute(f"ALTER SYSTEM SET {setting}")
    await bench.rows.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(2.0)
    try:
        yield StatementLog(bench.mesh.plan.home.log_file("postgres"))
    finally:
        for name in _LOG_SETTINGS:
            await bench.rows.execute(f"ALTER SYSTEM RESET {name}")
        await bench.rows.execute("SELECT pg_reload_conf()")


async def measured(bench: Bench, rest_seconds: float = REST_SECONDS) -> tuple[Part, Part, Part]:
    """At rest, while entries are carried out, and while exits are."""
    async with statements_logged(bench) as log:
        await asyncio.sleep(rest_seconds)
        rest = log.part()
        parts = []
        for side in ("SIDE_BUY", "SIDE_SELL"):
            log.part()
            for product in PRODUCTS:
                await carried_out(bench, product, side)
            await asyncio.sleep(AFTER_SECONDS)
            parts.append(log.part(len(PRODUCTS)))
    return rest, parts[0], parts[1]


async def carried_out(bench: Bench, product: str, side: str) -> None:
    """One recommendation to its end; BenchFailed if that is not a filled order."""
    request = bridge.CreateRecommendationRequest(
        request_id=str(ids.new_request_id()), product_id=product, side=side, note="bench"
    )
    made = await bench.bridge.CreateRecommendation(request, timeout=30)
    item = UUID(made.record.recommendation.recommendation_id)
    ended = await bench.rows.until_ended(ENDED_SECONDS, look=0.05)
    found = (await bench.rows.moments([item]))[0]
    if not ended or found.state != "EXECUTED":
        raise BenchFailed(f"{side} {product} ended {found.state}: {', '.join(found.reasons)}; see the services' logs")


def lines_of(rest: Part, phases: dict[str, Part]) -> list[Line]:
    """A line per service that works on recommendations, and their sum."""
    lines: list[Line] = []
    for service in SERVICES:
        line: Line = {"service": service.name}
        for name, part in phases.items():
            for kind in ("statements", "transactions", "implicit", "pings"):
                line[f"{name}_{kind}"] = round(part.per_item(kind, service.name, rest), 1)
        line["rest_statements_per_second"] = round(rest.per_second("statements", service.name), 1)
        line["rest_transactions_per_second"] = round(rest.per_second("all_transactions", service.name), 1)
        lines.append(line)
    total = {key: round(sum(float(line[key]) for line in lines), 1) for key in lines[0] if key != "service"}
    return [*lines, {"service": "all", **total}]


def texts_of(part: Part, rest: Part, only: str) -> list[tuple[float, str]]:
    """Each statement of a service by how often it is sent per recommendation, without what it sends at rest."""
    found = []
    for (service, text), count in part.counts.texts.most_common():
        if service == only:
            at_rest = rest.counts.texts[service, text] / rest.seconds * part.seconds
            found.append((round((count - at_rest) / part.executed, 1), text))
    return found
