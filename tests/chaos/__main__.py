"""`make chaos`: plays a range of seeds with a progress bar, keeps what a violation needs, and ends with the table."""

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

# Processes are started beside open gRPC channels; with its fork handlers a child may die before it begins.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.campaign import campaign, ground
from tests.chaos.plan import plan_of
from tests.chaos.report import Line, line_of, summary, told
from tests.chaos.run import RunResult

KEPT = Path(__file__).resolve().parents[2] / "build" / "chaos"
# Where there is no terminal for a progress bar.
TELL_EVERY = 20


async def chaos(first: int, runs: int, lanes: int, out: Console) -> list[Line]:
    """Every run's line; violations are printed as they come and kept in a folder of their seed."""
    lines: list[Line] = []
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        bar = progress.add_task("chaos", total=runs)

        def heard(result: RunResult) -> None:
            lines.append(line_of(result))
            if result.violations:
                out.print(told(result), markup=False, highlight=False, soft_wrap=True)
            wrong = sum(len(line.violations) for line in lines)
            progress.update(bar, advance=1, description=f"seed {result.plan.seed}, {wrong} violation(s)")
            if not out.is_terminal and len(lines) % TELL_EVERY == 0:
                out.print(f"{len(lines)} of {runs} runs, {wrong} violation(s)")

        try:
            async with ground() as place:
                await campaign(place, map(plan_of, range(first, first + runs)), lanes, heard, KEPT)
        except asyncio.CancelledError:
            out.print(f"stopped after {len(lines)} of {runs} runs")
    return lines


def main() -> int:
    """Exit code 1 where anything was violated, or not all was played."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--runs", type=int, default=2000, help="number of seeds")
    parser.add_argument("--lanes", type=int, default=4, help="lanes that play at once")
    given = parser.parse_args()
    if min(given.seed, given.runs, given.lanes) < 1:
        parser.error("CHAOS_SEED, CHAOS_RUNS and CHAOS_LANES are whole numbers from 1")
    out, began = Console(), time.monotonic()
    lines = asyncio.run(chaos(given.seed, given.runs, min(given.lanes, given.runs), out))
    out.print(summary(lines), markup=False, highlight=False, soft_wrap=True)
    wrong = sum(len(line.violations) for line in lines)
    out.print(f"{len(lines)} runs in {time.monotonic() - began:.0f} s, {wrong} violation(s)")
    if wrong:
        out.print(f"reports of processes and proxy are in {KEPT}")
    return 1 if wrong or len(lines) < given.runs else 0


if __name__ == "__main__":
    sys.exit(main())
