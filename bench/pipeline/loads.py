"""The loads: a burst and its throughput, paces and their latencies, and the steps of a recommendation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.pipeline.figures import (
    EXECUTED,
    Moments,
    Spread,
    delays,
    ends,
    executed_per_second,
    latencies,
    spread,
    step_seconds,
)
from bench.pipeline.load import Creator, Load
from bench.pipeline.mesh import PRODUCTS, Bench
from bench.pipeline.meter import Meter, Use, used

Progress = Callable[[], None]


@dataclass(frozen=True, slots=True)
class BurstFigures:
    """A burst: how fast it was created and executed, how it ended, and what it used of processes and database."""

    wanted: int
    created_per_second: float
    executed_per_second: float
    executed: int
    ends: Mapping[str, int]
    refused: Mapping[str, int]
    call: Spread | None
    orders: int
    delays: Mapping[str, int]
    steps: Mapping[str, Spread]
    per_item: Use | None = None
    """Used per executed recommendation, less what is used at rest."""


@dataclass(frozen=True, slots=True)
class PaceFigures:
    """A pace: latencies of what was executed, and how far behind it fell. `left_over` had not ended when the last one was
    created; `drained_in` is how long they took then."""

    per_second: float
    wanted: int
    ends: Mapping[str, int]
    refused: Mapping[str, int]
    created_to_sent: Spread | None
    created_to_end: Spread | None
    late: Spread | None
    delays: Mapping[str, int]
    left_over: int
    drained_in: float
    executed_per_second: float
    steps: Mapping[str, Spread]


async def burst(bench: Bench, items: int, wait: float, progress: Progress) -> BurstFigures:
    """As many as asked for, as fast as the bridge takes them, to the end of the last."""
    meter = Meter(bench.mesh, bench.rows)
    async with bench.vacuum_held():
        first, second = await meter.read(), await meter.read()
        load = await Creator(bench.bridge, PRODUCTS, progress).burst(items)
        await bench.rows.until_ended(wait)
        use, rest = used(second, await meter.read()), used(first, second)
    figures = burst_figures(load, await bench.rows.moments(load.ids))
    return replace(figures, per_item=use.per_item(rest, figures.executed)) if figures.executed else figures


def burst_figures(load: Load, found: list[Moments]) -> BurstFigures:
    """What a load came to."""
    return BurstFigures(
        wanted=load.wanted,
        created_per_second=len(load.ids) / load.created_in if load.created_in else 0.0,
        executed_per_second=executed_per_second(found),
        executed=sum(one.state == EXECUTED for one in found),
        ends=ends(found),
        refused=load.refused,
        call=spread(load.calls),
        orders=sum(one.orders for one in found),
        delays=delays(found),
        steps=step_seconds(found),
    )


async def paced(bench: Bench, per_second: float, seconds: float, wait: float, progress: Progress) -> PaceFigures:
    """A pace for a while, then the end of what is left over."""
    async with bench.rows.sends_noted():
        load = await Creator(bench.bridge, PRODUCTS, progress).paced(per_second, seconds)
        left_over = await bench.rows.open()
        await bench.rows.until_ended(wait)
        found = await bench.rows.moments(load.ids)
    executed = [one for one in found if one.state == EXECUTED]
    return PaceFigures(
        per_second=per_second,
        wanted=load.wanted,
        ends=ends(found),
        refused=load.refused,
        created_to_sent=spread(latencies(executed, "created", "sent")),
        created_to_end=spread(latencies(executed, "created", "ended")),
        late=spread(load.late),
        delays=delays(found),
        left_over=left_over,
        drained_in=_drained_in(executed),
        executed_per_second=executed_per_second(found),
        steps=step_seconds(found),
    )


def _drained_in(executed: list[Moments]) -> float:
    """Seconds from the last creation to the last end."""
    if not executed:
        return 0.0
    last: Any = max(one.at["created"] for one in executed)
    return float((max(one.at["ended"] for one in executed) - last).total_seconds())
