"""What an executed recommendation costs, and what the mesh uses while nothing is asked of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bench.pipeline.figures import EXECUTED
from bench.pipeline.load import Creator
from bench.pipeline.loads import Progress
from bench.pipeline.mesh import PRODUCTS, Bench, BenchFailed
from bench.pipeline.meter import Meter, Use, used
from bench.pipeline.statement_log import Part
from bench.pipeline.statements import AFTER_SECONDS, Line, lines_of, statements_logged

# Slow enough for the mesh to be idle in between, on a busy machine too.
PER_SECOND = 5.0
REST_SECONDS = 10.0
# Statements are counted over fewer: logging them slows the run.
MOST_LOGGED = 25


@dataclass(frozen=True, slots=True)
class CostFigures:
    """Per executed recommendation, less what is used at rest: CPU seconds by process and counters of the database without
    the log of statements, and statements and transactions by service with it."""

    executed: int
    per_item: Use
    statements: list[Line]


@dataclass(frozen=True, slots=True)
class IdleFigures:
    """At rest: CPU as a share of one core, counters of the database each second, memory in bytes, statements by service."""

    seconds: float
    per_second: Use
    memory: Mapping[str, int]
    statements: Mapping[str, float]
    transactions: Mapping[str, float]


async def cost(bench: Bench, items: int, wait: float, progress: Progress) -> CostFigures:
    """A light load twice: metered, then a few with every statement logged."""
    meter = Meter(bench.mesh, bench.rows)
    async with bench.vacuum_held():
        first, second = await meter.read(), await meter.read()
        executed = await _light_load(bench, items, wait, progress)
        per_item = used(second, await meter.read()).per_item(used(first, second), executed)
    return CostFigures(executed, per_item, await _statements(bench, min(items, MOST_LOGGED), wait, progress))


async def _statements(bench: Bench, items: int, wait: float, progress: Progress) -> list[Line]:
    async with statements_logged(bench) as log:
        await asyncio.sleep(REST_SECONDS)
        rest = log.part()
        executed = await _light_load(bench, items, wait, progress)
        return lines_of(rest, {"entry": log.part(executed)})


async def _light_load(bench: Bench, items: int, wait: float, progress: Progress) -> int:
    load = await Creator(bench.bridge, PRODUCTS, progress).paced(PER_SECOND, items / PER_SECOND)
    await bench.rows.until_ended(wait)
    await asyncio.sleep(AFTER_SECONDS)
    executed = sum(one.state == EXECUTED for one in await bench.rows.moments(load.ids))
    if not executed:
        raise BenchFailed(
            "nothing was executed, so nothing has a cost; run --only burst to see how recommendations end"
        )
    return executed


async def idle(bench: Bench, seconds: float) -> IdleFigures:
    """The mesh at rest; its statements are counted afterwards, for half as long."""
    meter = Meter(bench.mesh, bench.rows)
    before = await meter.read()
    await asyncio.sleep(seconds)
    use = used(before, await meter.read())
    memory = await asyncio.to_thread(meter.memory)
    async with statements_logged(bench) as log:
        await asyncio.sleep(seconds / 2)
        part = log.part()
    return IdleFigures(
        seconds=seconds,
        per_second=use.per_second(),
        memory=memory,
        statements=_each(part, bench, "statements"),
        transactions=_each(part, bench, "all_transactions"),
    )


def _each(part: Part, bench: Bench, kind: str) -> dict[str, float]:
    return {one.name: part.per_second(kind, one.name) for one in bench.mesh.plan.services}
