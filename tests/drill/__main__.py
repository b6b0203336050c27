"""`make drill`: plays a range of seeds with a progress bar, keeps what a violation needs, and ends with the tables."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
from contextlib import aclosing
from pathlib import Path

# The drill starts processes beside open gRPC channels; with its fork handlers a child may die before it begins.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.drill.campaign import campaign
from tests.drill.plan import drill_plan
from tests.drill.report import Line, line_of, summary, told

KEPT = Path(__file__).resolve().parents[2] / "build" / "drill"
# Where there is no terminal for a progress bar.
TELL_EVERY = 10


async def drill(first: int, runs: int, out: Console) -> list[Line]:
    """Every run's line; violations are printed as they come and kept in a folder of their seed."""
    lines: list[Line] = []
    _stop_on_signals()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("drill", total=runs)
        try:
            async with aclosing(campaign([drill_plan(seed) for seed in range(first, first + runs)])) as results:
                async for result in results:
                    lines.append(line_of(result))
                    if result.violations:
                        words = told(result.plan, result.answers, result.violations)
                        out.print(words, markup=False, highlight=False, soft_wrap=True)
                        _keep(result.plan.seed, words, result.history)
                    wrong = sum(len(line.violations) for line in lines)
                    progress.update(task, advance=1, description=f"seed {result.plan.seed}, {wrong} violation(s)")
                    if not out.is_terminal and len(lines) % TELL_EVERY == 0:
                        out.print(f"{len(lines)} of {runs} runs, {wrong} violation(s)")
        except asyncio.CancelledError:
            at = first + len(lines)
            out.print(f"stopped; go on with: make drill DRILL_SEED={at} DRILL_RUNS={first + runs - at}")
    return lines


def _stop_on_signals() -> None:
    """Ctrl-C and SIGTERM end the run in progress, and everything that was started, in order; a drill that is killed
    would leave its database behind.
    """
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _keep(seed: int, words: str, history: Path) -> None:
    """The report, the three histories and every log of the world, for as long as the next drill does not remove them."""
    folder = KEPT / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(history, folder)
    (folder / "report.txt").write_text(words + "\n", encoding="utf-8")


def main() -> int:
    """Exit code 1 where anything was violated."""
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--runs", type=int, default=300, help="number of seeds")
    given = parser.parse_args()
    if given.seed < 1 or given.runs < 1:
        parser.error("DRILL_SEED and DRILL_RUNS are whole numbers from 1")
    out = Console()
    lines = asyncio.run(drill(given.seed, given.runs, out))
    out.print(summary(lines), markup=False, highlight=False, soft_wrap=True)
    wrong = sum(len(line.violations) for line in lines)
    if wrong:
        out.print(f"{wrong} violation(s); reports, histories and logs are in {KEPT}")
    return 1 if wrong or len(lines) < given.runs else 0


if __name__ == "__main__":
    sys.exit(main())
