"""Memory while ten times as much is wanted as can be served: what waits is bounded, so no process grows with it.

The bridge takes what it can and refuses the rest; what it took either ends in time or is given up with its reasons.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.pipeline.figures import ends, executed_per_second
from bench.pipeline.load import Creator
from bench.pipeline.loads import Progress
from bench.pipeline.mesh import PRODUCTS, Bench
from bench.pipeline.meter import Meter

FACTOR = 10
# Readings that are shown of the time that the load lasts, which is longer where the bridge lets its callers wait.
READINGS = 4


@dataclass(frozen=True, slots=True)
class OverloadFigures:
    """`served`: executed a second in a burst before; `wanted`: a second for `seconds`; `created`: what the bridge took of it.
    Memory by process in bytes (PSS): at rest before, in the load at equal distances, and when all of it had ended."""

    served: float
    wanted: float
    seconds: float
    created: int
    most_open: int
    ends: Mapping[str, int]
    refused: Mapping[str, int]
    before: Mapping[str, int]
    during: Sequence[Mapping[str, int]]
    after: Mapping[str, int]


async def overload(bench: Bench, items: int, seconds: float, wait: float, progress: Progress) -> OverloadFigures:
    """A burst for the rate that can be served, then ten times that rate."""
    meter = Meter(bench.mesh, bench.rows)
    creator = Creator(bench.bridge, PRODUCTS, progress)
    first = await creator.burst(items)
    await bench.rows.until_ended(wait)
    served = executed_per_second(await bench.rows.moments(first.ids))
    await bench.fresh_hour()
    before = meter.memory()
    during: list[Mapping[str, int]] = []
    most_open = 0

    async def watch() -> None:
        nonlocal most_open
        while True:
            await asyncio.sleep(seconds / READINGS)
            most_open = max(most_open, await bench.rows.open())
            during.append(await asyncio.to_thread(meter.memory))

    watching = asyncio.create_task(watch())
    try:
        load = await creator.paced(served * FACTOR, seconds)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    most_open = max(most_open, await bench.rows.open())
    await bench.rows.until_ended(wait)
    return OverloadFigures(
        served=served,
        wanted=served * FACTOR,
        seconds=load.created_in,
        created=len(load.ids),
        most_open=most_open,
        ends=ends(await bench.rows.moments(load.ids)),
        refused=load.refused,
        before=before,
        during=during[:: -max(1, len(during) // READINGS)][:READINGS][::-1],
        after=meter.memory(),
    )
