"""How another shell asks the supervisor to start one unit anew: a file in the run folder, taken by the supervisor.

A file and not a signal: it names the unit, and an older supervisor that does not know of it is not ended by it.
"""

from __future__ import annotations

from pathlib import Path

_PREFIX = "restart-"


def ask_restart(run_folder: Path, unit: str) -> Path:
    """Leaves the request; gives its file, which is gone once the supervisor has taken it."""
    request = run_folder / f"{_PREFIX}{unit}"
    request.touch(mode=0o600)
    return request


def take_requests(run_folder: Path) -> list[str]:
    """Names of units asked for since the last look."""
    found = []
    for request in sorted(run_folder.glob(f"{_PREFIX}*")):
        request.unlink(missing_ok=True)
        found.append(request.name.removeprefix(_PREFIX))
    return found
