"""Finds and ends processes of an instance, and never anybody else's.

A pid alone proves nothing: the kernel reuses it. A process is ours when its start time matches the one
recorded, or when its environment carries the mark every child of a supervisor inherits (grandchildren
included).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "MESH_SUPERVISED_BY"
_PROC = Path("/proc")
# Fields of /proc/PID/stat behind the name, which may hold anything: state, and start in ticks since boot.
_STATE, _START = 0, 19
_CLOCK_SLACK_SECONDS = 1.5  # where a start is only to be had by the clock, it moves as that is disciplined


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A pid together with the moment the process started: on Linux seconds since boot, which no setting of the clock moves (a
    machine that was suspended or moved wakes up with another time of day); elsewhere epoch seconds.
    """

    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class InstanceMark:
    """Says which run of which state folder a process belongs to."""

    home: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.run_id}@{self.home}"

    @classmethod
    def parse(cls, text: str) -> InstanceMark | None:
        run_id, at, home = text.partition("@")
        return cls(home, run_id) if at else None


def identity_of(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None when there is none (a zombie is dead)."""
    try:
        if psutil.LINUX:
            fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            dead, started = fields[_STATE] == "Z", int(fields[_START]) / os.sysconf("SC_CLK_TCK")
        else:
            process = psutil.Process(pid)
            dead, started = process.status() == psutil.STATUS_ZOMBIE, process.create_time()
    except (psutil.Error, OSError):
        return None
    return None if dead else ProcessIdentity(pid, started)


def read_identity(path: Path) -> ProcessIdentity | None:
    """As a process was written down in a file; None where that cannot be read."""
    try:
        return ProcessIdentity(**json.loads(path.read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(identity: ProcessIdentity) -> bool:
    """True while the very process that was recorded lives, not merely its number."""
    found = identity_of(identity.pid)
    slack = 0.0 if psutil.LINUX else _CLOCK_SLACK_SECONDS
    return found is not None and abs(found.started - identity.started) <= slack


def is_stopped(identity: ProcessIdentity) -> bool:
    """True while it lives and does nothing, as Ctrl-Z or SIGSTOP left it."""
    try:
        return is_alive(identity) and psutil.Process(identity.pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def marked_processes(home: str, run_id: str | None = None) -> list[psutil.Process]:
    """Living processes of this state folder (of one run of it, if named), the caller left out."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = InstanceMark.parse(process.environ().get(MARK, ""))
        except (psutil.Error, OSError):
            continue  # not readable: somebody else's
        if mark is None or mark.home != home or process.pid == os.getpid():
            continue
        if run_id is None or mark.run_id == run_id:
            found.append(process)
    return found


def sweep(home: str, recorded: Iterable[ProcessIdentity], run_id: str | None = None) -> list[int]:
    """Kills what is left of an instance: recorded processes that are still themselves, and marked ones.

    SIGKILL at once: their supervisor is gone, so nobody is left to drain for, and every service is made to
    survive exactly this. Returns the pids that were killed.
    """
    doomed = {identity.pid: psutil.Process(identity.pid) for identity in recorded if is_alive(identity)}
    doomed |= {process.pid: process for process in marked_processes(home, run_id)}
    killed = [process for process in doomed.values() if _kill(process)]
    psutil.wait_procs(killed, timeout=5)
    return sorted(process.pid for process in killed)


def _kill(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.kill()  # psutil checks once more that the pid was not reused
    except psutil.Error:
        return False
    return True
