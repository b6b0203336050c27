"""Runs the phases of the bench one after the other, shows what they found, and writes it into a file if asked to."""

import asyncio
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from bench.pipeline.mesh import BenchFailed, running_mesh
from bench.pipeline.options import Options, parse
from bench.pipeline.report import plain
from bench.pipeline.run import Run
from supervisor.postgres_programs import PostgresFailed


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was before the mesh began."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": psutil.cpu_count(),
        "load_before": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _ended(*_: object) -> None:
    """As Ctrl-C, which the event loop knows how to end by."""
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """Exits 1 with what to do if a phase failed, 130 if it was ended; the figures until then are kept."""
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 180)
    # A shell has what it runs in the background ignore Ctrl-C; SIGTERM must end it there too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _ended)
    folder = Path(tempfile.mkdtemp(prefix="bench-mesh-"))
    told: dict[str, object] = {"machine": machine(), "options": options.told()}
    run = Run(options, folder, console)
    code = 1
    try:
        console.print("Starting the mesh: PostgreSQL, the simulated exchange and eight services.")
        with running_mesh(folder / "mesh") as mesh:
            asyncio.run(run.all(mesh))
        code = 0
    except KeyboardInterrupt:
        console.print("Ended. Nothing of it runs any more.")
        code = 130
    except (BenchFailed, PostgresFailed) as error:
        _failed(run, str(error), options, folder, console)
    except Exception as error:
        # What a call, a driver or a task group raised: nobody foresaw it, so it is shown whole.
        console.print_exception(max_frames=6)
        _failed(run, f"{type(error).__name__}: {str(error)[:500]}", options, folder, console)
    finally:
        _write(options, told | {name: plain(found) for name, found in run.figures.items()}, console)
        _leave(folder, options.keep, console)
    sys.exit(code)


def _failed(run: Run, why: str, options: Options, folder: Path, console: Console) -> None:
    """Says in which phase, why, and what to do."""
    console.print(f"The bench failed ({run.phase}): {why}", style="red", highlight=False, markup=False)
    logs = f"The logs of the mesh are in {folder}/mesh/logs."
    again = "The same again with --keep leaves the logs of the mesh for you to read."
    console.print(logs if options.keep else again, highlight=False, markup=False)


def _write(options: Options, figures: dict[str, object], console: Console) -> None:
    if options.json is None or len(figures) <= 2:
        return
    with suppress(OSError):
        options.json.parent.mkdir(parents=True, exist_ok=True)
    try:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    except OSError as error:
        console.print(f"[red]The figures were not written:[/red] {error}; name another file with --json")


def _leave(folder: Path, keep: bool, console: Console) -> None:
    if keep:
        console.print(f"The folder stays: {folder}", highlight=False)
        return
    with suppress(OSError):
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
