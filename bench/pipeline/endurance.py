"""What an order costs late in the life of a mesh, beside what one cost at its beginning, in processor time of each process.

Seconds on the wall say more of the machine than of the mesh when minutes lie between two windows; the processor time of a
process does not count what others do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.pipeline.load import Creator
from bench.pipeline.mesh import PRODUCTS, Bench, BenchFailed
from bench.pipeline.meter import Meter, Use, used

# Orders of a window, half of them before the order it is named after.
WINDOW = 250
EARLY = 500
_STEP = 500


@dataclass(frozen=True, slots=True)
class EnduranceFigures:
    """Per executed recommendation around the early and the late order, less what is used at rest."""

    early: int
    late: int
    at_early: Use
    at_late: Use

    @property
    def ratios(self) -> Mapping[str, float]:
        """How many times as much processor time the late order took, by process; of what took next to none there is no ratio."""
        early, late = self.at_early.cpu, self.at_late.cpu
        return {name: late[name] / early[name] for name in early if name in late and early[name] > 0.0002}


async def endurance(bench: Bench, late: int, wait: float, progress: Callable[[], None]) -> EnduranceFigures:
    """Orders one after the other until the late one, in bursts each of which ends before the next begins."""
    meter = Meter(bench.mesh, bench.rows)
    made = int(await bench.rows.value("SELECT count(*) FROM orders WHERE purpose = 'ENTRY'"))
    creator = Creator(bench.bridge, PRODUCTS, progress)

    async def go_to(order: int) -> None:
        nonlocal made
        while made < order:
            await bench.fresh_hour()
            made += await _burst(bench, creator, min(_STEP, order - made), wait)

    async def window(order: int) -> Use:
        nonlocal made
        await go_to(order - WINDOW // 2)
        await bench.fresh_hour()
        async with bench.vacuum_held():
            first, second = await meter.read(), await meter.read()
            executed = await _burst(bench, creator, WINDOW, wait)
            use, rest = used(second, await meter.read()), used(first, second)
        made += executed
        return use.per_item(rest, executed)

    return EnduranceFigures(EARLY, late, await window(EARLY), await window(late))


async def _burst(bench: Bench, creator: Creator, count: int, wait: float) -> int:
    load = await creator.burst(count)
    if not load.ids or not await bench.rows.until_ended(wait):
        raise BenchFailed(f"a burst of {count} did not come to its end in {wait:g} s; see the orchestrator's log")
    return len(load.ids)
