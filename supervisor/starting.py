"""Who is about to start an instance and does not hold its folder yet: `mesh down` ends them as well.

A start looks at settings, keys and ports before it takes the folder, which may take seconds. Until then a file in the run
folder names it; the file is worth nothing once its process is gone.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from supervisor.home import MeshHome
from supervisor.processes import ProcessIdentity, identity_of, is_alive, read_identity

_PREFIX = "starting."
_POLL_SECONDS = 0.05
# For a start to end by SIGTERM; it has nothing to drain.
_END_SECONDS = 10.0


@contextmanager
def starting(home: MeshHome) -> Iterator[None]:
    """This process is about to start the instance. What is refused leaves no folder that was not there."""
    made = [folder for folder in (home.run, home.root) if not folder.exists()]
    note_start(home, os.getpid())
    try:
        yield
    finally:
        started(home)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()  # does nothing to one that holds something by now


def note_start(home: MeshHome, pid: int) -> None:
    """A process that will be this start. Where nothing can be written nothing can be started either, which is told elsewhere."""
    identity = identity_of(pid)
    if identity is None:
        return
    with suppress(OSError):
        if not home.root.exists():
            home.root.mkdir(parents=True, mode=0o700)
        home.run.mkdir(mode=0o700, exist_ok=True)
        _file(home, pid).write_text(json.dumps(asdict(identity)), encoding="ascii")


def started(home: MeshHome) -> None:
    """This process holds the folder now, or has given up."""
    with suppress(OSError):
        _file(home, os.getpid()).unlink(missing_ok=True)


def end_starts(home: MeshHome) -> tuple[int, ...]:
    """Ends every start that does not hold the folder yet, by SIGKILL where SIGTERM does not. The pids."""
    ended: list[int] = []
    while found := [one for one in _noted(home) if one.pid not in (os.getpid(), *ended)]:
        for identity in found:
            _end(identity)
            ended.append(identity.pid)
            with suppress(OSError):
                _file(home, identity.pid).unlink(missing_ok=True)
    return tuple(ended)


def _file(home: MeshHome, pid: int) -> Path:
    return home.run / f"{_PREFIX}{pid}.json"


def _noted(home: MeshHome) -> list[ProcessIdentity]:
    """Those that live; what others left is removed."""
    found: list[ProcessIdentity] = []
    for file in sorted(home.run.glob(f"{_PREFIX}*.json")):
        identity = read_identity(file)
        if identity is not None and is_alive(identity):
            found.append(identity)
        elif identity is not None:
            with suppress(OSError):
                file.unlink(missing_ok=True)
    return found


def _end(identity: ProcessIdentity) -> None:
    deadline = time.monotonic() + _END_SECONDS
    for number in (signal.SIGTERM, signal.SIGCONT):  # one that Ctrl-Z stopped hears of it only then
        with suppress(ProcessLookupError):
            os.kill(identity.pid, number)
    while is_alive(identity):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGKILL)
            deadline += _END_SECONDS
        time.sleep(_POLL_SECONDS)
