"""What the supervisor knows, as one file any shell can read: `run/state.json`, replaced whole, never half
written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from supervisor.processes import ProcessIdentity, is_alive


class Status(StrEnum):
    WAITING = "waiting"  # for what it depends on
    STARTING = "starting"  # runs, not ready yet
    READY = "ready"
    HUNG = "hung"  # was ready and runs, but does not answer; since then
    BACKOFF = "backoff"  # died, will be started again
    PARKED = "parked"  # died too often; stays down
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"  # a run-once step that succeeded
    GONE = "gone"  # recorded as running, but no such process: its supervisor was killed


# Room for the states of a mesh; a longer one takes more blocks when it comes.
_BLOCK_BYTES = 32 * 1024
_READS, _READ_PAUSE_SECONDS = 3, 0.005
RUNNING = (Status.STARTING, Status.READY, Status.HUNG, Status.STOPPING)


@dataclass(frozen=True, slots=True)
class ServiceState:
    name: str
    status: Status = Status.WAITING
    since: str = ""  # UTC, ISO 8601
    process: ProcessIdentity | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    last_exit: str = ""
    detail: str = ""
    survives_supervisor: bool = False


@dataclass(frozen=True, slots=True)
class MeshState:
    run_id: str
    supervisor: ProcessIdentity
    since: str
    labels: Mapping[str, str]
    services: tuple[ServiceState, ...]

    @property
    def children(self) -> tuple[ProcessIdentity, ...]:
        """Processes that must not outlive the supervisor."""
        return tuple(
            service.process
            for service in self.services
            if service.process is not None and service.status in RUNNING and not service.survives_supervisor
        )


def write_state(path: Path, state: MeshState) -> None:
    """Replaces the file: a reader sees the old state or the new one, also on a disk that has become full.

    Two files of one size take turns, so that after the first two states no new block is needed: the one that is not read
    is written over, then it takes the name in one step. The one that had it has a second name until then.
    """
    spare, aside = path.with_name(f".{path.name}.spare"), path.with_name(f".{path.name}.aside")
    text = json.dumps(asdict(state), indent=1).encode()
    size = -(-len(text) // _BLOCK_BYTES) * _BLOCK_BYTES
    _keep_one_spare(spare, aside)
    descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _write_whole(descriptor, text.ljust(size))
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)
    # No file yet, or a file system without second names: the old blocks are given back, and the next state takes new ones.
    with suppress(OSError):
        os.link(path, aside)
    spare.replace(path)
    with suppress(FileNotFoundError):
        aside.replace(spare)


def _keep_one_spare(spare: Path, aside: Path) -> None:
    """A writer that was killed may have left a second name: of the spare file, or of the one that is read."""
    if spare.exists():
        aside.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):
            aside.replace(spare)


def _write_whole(descriptor: int, content: bytes) -> None:
    """A disk that becomes full takes a part first; half a state must not take the name."""
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], written)


def read_state(path: Path) -> MeshState | None:
    """The last published state, or None when there is none or it is not readable as one."""
    for _ in range(_READS):
        try:
            return _parsed(json.loads(path.read_text(encoding="utf-8")))
        except OSError:
            return None
        except ValueError:
            # Two states later the file that is being read here is written over.
            time.sleep(_READ_PAUSE_SECONDS)
    return None


def _parsed(raw: Any) -> MeshState | None:
    try:
        return MeshState(
            run_id=str(raw["run_id"]),
            supervisor=ProcessIdentity(**raw["supervisor"]),
            since=str(raw["since"]),
            labels=dict(raw["labels"]),
            services=tuple(_service(item) for item in raw["services"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def stamp_of(path: Path) -> tuple[int, ...]:
    """What changes with every write of the file, whoever writes; nothing where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def observe_state(path: Path) -> MeshState | None:
    """The published state, corrected by what really lives: for `status` after the supervisor was killed."""
    state = read_state(path)
    if state is None:
        return None
    return replace(state, services=tuple(_corrected(service) for service in state.services))


def _corrected(service: ServiceState) -> ServiceState:
    if service.status not in RUNNING or service.process is None or is_alive(service.process):
        return service
    return replace(service, status=Status.GONE)


def _service(raw: Mapping[str, Any]) -> ServiceState:
    process = raw["process"]
    identity = ProcessIdentity(**process) if process is not None else None
    return ServiceState(**{**raw, "status": Status(raw["status"]), "process": identity})
