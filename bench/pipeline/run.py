"""The order of the phases: each begins on a mesh at rest, in a market hour without orders, and shows what it found."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.pipeline import cost, endurance, loads, orchestrators, overload, peers, report, statements, stored
from bench.pipeline.load import Creator
from bench.pipeline.loads import BurstFigures, PaceFigures
from bench.pipeline.mesh import PRODUCTS, Bench, attached
from bench.pipeline.options import Options
from tests.support.live_mesh import LiveMesh

WARM_UP = 60


class Run:
    """One run. `figures` holds what was found so far, by phase, whatever ends the run; `phase` is the one that
    runs."""

    def __init__(self, options: Options, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console
        self.figures: dict[str, Any] = {}
        self.phase = "start"

    async def all(self, mesh: LiveMesh) -> None:
        """Every phase that was asked for."""
        phases: dict[str, Callable[[Bench], Awaitable[None]]] = {
            "statements": self._statements,
            "idle": self._idle,
            "cost": self._cost,
            "paced": self._paced,
            "burst": self._burst,
            "orchestrators": self._orchestrators,
            "peers": self._peers,
            "overload": self._overload,
            "endurance": self._endurance,
        }
        async with attached(mesh) as bench:
            await self._warm_up(bench)
            await self._store(bench)
            for name in self._options.phases:
                self.phase = name
                await bench.fresh_hour()
                await phases[name](bench)

    @contextmanager
    def _progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal, a line elsewhere."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        if not sys.stdout.isatty():
            self._console.print(f"{what} ...", highlight=False)
        with Progress(*columns, console=self._console, transient=True, disable=not sys.stdout.isatty()) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)

    async def _warm_up(self, bench: Bench) -> None:
        """Entries that are in no figure: each connection prepares each statement once, which those that come first pay for."""
        with self._progress("warming up", WARM_UP) as advance:
            await Creator(bench.bridge, PRODUCTS, lambda: advance(1)).burst(WARM_UP)
            await bench.rows.until_ended(self._options.wait_seconds)

    async def _store(self, bench: Bench) -> None:
        count = self._options.stored
        if not count:
            return
        with self._progress(f"storing {count:,} finished recommendations, not through the mesh", count) as advance:
            await stored.store(bench, count, advance)
        self.figures["stored"] = count

    async def _statements(self, bench: Bench) -> None:
        with self._progress("statements of entries and exits, one after the other"):
            rest, entries, exits = await statements.measured(bench)
        lines = statements.lines_of(rest, {"entry": entries, "exit": exits})
        self.figures["statements"] = lines
        self._console.print(report.statement_table("statements per executed recommendation, one at a time", lines))
        if self._options.texts:
            for name, part in (("entry", entries), ("exit", exits)):
                self._console.print(f"\n{self._options.texts}, {name}:")
                for count, text in statements.texts_of(part, rest, self._options.texts):
                    self._console.print(f"{count:8.1f}  {text}", highlight=False, markup=False)

    async def _idle(self, bench: Bench) -> None:
        with self._progress(f"at rest for {self._options.idle_seconds:g} s"):
            found = await cost.idle(bench, self._options.idle_seconds)
        self.figures["idle"] = found
        self._console.print(report.idle_table(found))

    async def _cost(self, bench: Bench) -> None:
        items = self._options.cost_items
        total = items + min(items, cost.MOST_LOGGED)
        with self._progress("cost of a recommendation at a light load", total) as advance:
            found = await cost.cost(bench, items, self._options.wait_seconds, lambda: advance(1))
        self.figures["cost"] = found
        for table in report.cost_tables(found):
            self._console.print(table)

    async def _paced(self, bench: Bench) -> None:
        found: list[PaceFigures] = []
        self.figures["paced"] = found
        seconds, wait = self._options.seconds, self._options.wait_seconds
        for per_second in self._options.paces:
            if found:
                await bench.fresh_hour()
            total = max(1, round(per_second * seconds))
            with self._progress(f"{per_second:g} a second for {seconds:g} s", total) as advance:
                found.append(await loads.paced(bench, per_second, seconds, wait, lambda: advance(1)))
        self._console.print(report.pace_table(found))
        slowest = min(found, key=lambda one: one.per_second)
        self._console.print(report.step_table(f"at {slowest.per_second:g} a second", slowest.steps))

    async def _burst(self, bench: Bench) -> None:
        with self._progress(f"burst of {self._options.items:,}", self._options.items) as advance:
            found = await loads.burst(bench, self._options.items, self._options.wait_seconds, lambda: advance(1))
        self.figures["burst"] = found
        self._console.print(report.burst_table(found))
        self._console.print(report.step_table("in the burst", found.steps))
        if found.per_item is not None:
            self._console.print(report.use_table("in the burst, per executed recommendation", found.per_item))

    async def _orchestrators(self, bench: Bench) -> None:
        counts, items = self._options.orchestrators, self._options.items
        total = items * len(orchestrators.runs_of(counts))
        with self._progress("several orchestrators", total) as advance:
            found = await orchestrators.several(
                bench, counts, items, self._options.wait_seconds, self._folder, lambda: advance(1)
            )
        self.figures["orchestrators"] = found
        self._console.print(report.orchestrator_table(found))

    async def _overload(self, bench: Bench) -> None:
        seconds, wait = self._options.overload, self._options.wait_seconds
        items = max(1, self._options.items // 5)
        with self._progress(f"{overload.FACTOR} times what can be served, for {seconds:g} s") as advance:
            found = await overload.overload(bench, items, seconds, wait, lambda: advance(1))
        self.figures["overload"] = found
        self._console.print(report.overload_table(found))

    async def _endurance(self, bench: Bench) -> None:
        late, wait = self._options.endurance, self._options.wait_seconds
        with self._progress(f"to order {late:,}", late + endurance.WINDOW // 2) as advance:
            found = await endurance.endurance(bench, late, wait, lambda: advance(1))
        self.figures["endurance"] = found
        self._console.print(report.endurance_table(found))

    async def _peers(self, bench: Bench) -> None:
        with self._progress("beside others"):
            found = await peers.peers(bench, self._options.items, self._folder, self._say)
        self.figures["peers"] = found
        burst: BurstFigures | None = self.figures.get("burst")
        paced: list[PaceFigures] = self.figures.get("paced", [])
        slowest = min(paced, key=lambda one: one.per_second, default=None)
        alone = slowest.created_to_end.p50 if slowest is not None and slowest.created_to_end is not None else None
        executed = burst.executed_per_second if burst is not None else None
        self._console.print(report.peer_table(found, executed, alone))

    def _say(self, words: str) -> None:
        self._console.print(f"{words} ...", highlight=False)
