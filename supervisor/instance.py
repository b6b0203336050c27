"""One instance per state folder, and its end from any shell, however it was left.

The lock is the kernel's (flock): it cannot outlive its owner. What the owner left running is found by
recorded identities and by the mark its children carry, never by a bare pid.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from supervisor.embedded_postgres import KILLED, EmbeddedPostgres
from supervisor.home import MeshHome
from supervisor.processes import ProcessIdentity, identity_of, is_alive, read_identity, sweep
from supervisor.starting import end_starts, started
from supervisor.state import Status, read_state
from supervisor.supervisor import DRAIN_SECONDS

_POLL_SECONDS = 0.05
STOP_SECONDS = DRAIN_SECONDS + 50.0  # the drain, then the database's own timeouts and its kill


class AlreadyRunning(Exception):
    """Another process holds the state folder."""


@dataclass(frozen=True, slots=True)
class DownReport:
    """What `down` found and did."""

    supervisor_pid: int | None = None
    starts_ended: tuple[int, ...] = ()
    """Processes that were about to start the instance."""
    supervisor_killed: bool = False
    swept_pids: tuple[int, ...] = ()
    postgres_stopped: bool = False
    notes: tuple[str, ...] = ()
    """What did not end as it should, in words."""

    @property
    def nothing_ran(self) -> bool:
        found = (self.starts_ended, self.swept_pids, self.postgres_stopped)
        return self.supervisor_pid is None and not any(found)


@contextmanager
def hold_instance(home: MeshHome) -> Iterator[str]:
    """Owns the folder while the body runs and yields a fresh run id. Raises `AlreadyRunning`."""
    home.prepare()
    descriptor = _try_lock(home)
    if descriptor is None:
        owner = lock_owner(home)
        who = f"pid {owner.pid}" if owner is not None else "another process"
        raise AlreadyRunning(
            f"{home.root} is in use by {who}. Stop it with `mesh down`, or choose another folder with MESH_HOME."
        )
    try:
        started(home)
        yield uuid.uuid4().hex
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def lock_owner(home: MeshHome) -> ProcessIdentity | None:
    """The living process that holds the folder, as it wrote itself down; None when nobody does."""
    identity = read_identity(home.lock_file)
    return identity if identity is not None and is_alive(identity) else None


def died_holding(home: MeshHome) -> bool:
    """Whether the folder's last owner was killed: who ends in order takes its name out of the lock file."""
    identity = read_identity(home.lock_file)
    return identity is not None and not is_alive(identity)


def clear_leftovers(home: MeshHome) -> tuple[int, ...]:
    """Kills children of a run whose supervisor is gone. The caller holds the folder. The database stays."""
    state = read_state(home.state_file)
    return tuple(sweep(str(home.root), state.children if state is not None else ()))


def bring_down(home: MeshHome, postgres: EmbeddedPostgres, timeout_seconds: float = STOP_SECONDS) -> DownReport:
    """Stops whatever runs in the folder or is about to, and returns when it has ended. Nothing running is fine."""
    if not home.root.exists():
        return DownReport()
    home.prepare()
    starts = end_starts(home)
    owner: ProcessIdentity | None = None
    killed = False
    descriptor = _try_lock(home)
    if descriptor is None:
        owner = _owner_for_sure(home)
        _signal(owner, signal.SIGTERM)
        _signal(owner, signal.SIGCONT)  # one that Ctrl-Z stopped would hear of it only then
        descriptor = _wait_for_lock(home, timeout_seconds)
    if descriptor is None and owner is not None:
        killed = True
        _signal(owner, signal.SIGKILL)
        descriptor = _wait_for_lock(home, 10.0)
    if descriptor is None:
        raise AlreadyRunning(f"{home.root} is still in use by pid {owner.pid if owner else '?'}")
    try:
        swept = clear_leftovers(home)
        notes = _last_words(home) if owner is not None and not killed else ()
        stopped = postgres.stop()
        if postgres.killed:
            notes = (*notes, KILLED)
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)
    return DownReport(owner.pid if owner else None, starts, killed, swept, stopped, notes)


def _last_words(home: MeshHome) -> tuple[str, ...]:
    """What the supervisor had to say of units that it stopped."""
    state = read_state(home.state_file)
    stopped = [one for one in state.services if one.status is Status.STOPPED] if state is not None else []
    return tuple(one.detail for one in stopped if one.detail)


def _try_lock(home: MeshHome) -> int | None:
    """The locked descriptor with ourselves written into the file, or None when somebody else has it."""
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    me = identity_of(os.getpid()) or ProcessIdentity(os.getpid(), time.time())
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(me)).encode("ascii"), 0)
    return descriptor


def _wait_for_lock(home: MeshHome, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while (descriptor := _try_lock(home)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return descriptor


def _owner_for_sure(home: MeshHome) -> ProcessIdentity:
    """Between taking the lock and writing itself down an owner is anonymous for a moment."""
    deadline = time.monotonic() + 2.0
    while (owner := lock_owner(home)) is None:
        if time.monotonic() > deadline:
            raise AlreadyRunning(f"{home.lock_file} is locked by a process that did not say who it is")
        time.sleep(_POLL_SECONDS)
    return owner


def _signal(identity: ProcessIdentity | None, number: signal.Signals) -> None:
    if identity is None or not is_alive(identity):
        return
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return
