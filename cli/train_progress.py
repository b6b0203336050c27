"""Shows how far a training is: a bar on a terminal; where there is none, lines in a file that can be followed."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PROGRESS_FILE = "progress.log"
Show = Callable[[str, float], None]


@contextmanager
def training_progress(console: Console, report: Path | None) -> Iterator[Show]:
    """Shows a step and the share done, 0 to 1; without a terminal it writes them into the report's folder."""
    if console.is_terminal or report is None:
        with _bar(console) as show:
            yield show
        return
    path = report / PROGRESS_FILE
    console.print(f"progress {path}", soft_wrap=True, markup=False)
    with path.open("w", encoding="utf-8", buffering=1) as file:  # each line reaches the file at once
        done = 0.0

        def tell(step: str, share: float) -> None:
            nonlocal done
            done = share
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {share:4.0%} {step}\n")

        try:
            yield tell
        except (KeyboardInterrupt, asyncio.CancelledError):
            tell("interrupted, ended without a model", done)
            raise
        except BaseException as error:
            tell(f"ended without a model: {type(error).__name__} {error}".rstrip(), done)
            raise


@contextmanager
def _bar(console: Console) -> Iterator[Show]:
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        # Fits differ in length by a factor of ten: a short memory would make the estimate jump.
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=600.0) as shown:
        task = shown.add_task("training", total=1.0)
        yield lambda step, share: shown.update(task, completed=share, description=f"training: {step}")
