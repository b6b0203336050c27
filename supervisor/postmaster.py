"""Recognises a living PostgreSQL server of one data folder by its pid file, and never mistakes a stranger
for it.

The number in `postmaster.pid` may belong to anybody after a crash or a reboot; a process counts only if it
is a `postgres` whose working directory is this very folder (the server changes into it) or whose arguments
name it.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisor.processes import ProcessIdentity, identity_of, is_alive

_PID_FILE = "postmaster.pid"


@dataclass(frozen=True, slots=True)
class Postmaster:
    identity: ProcessIdentity
    socket_folder: Path
    ready: bool

    @property
    def pid(self) -> int:
        return self.identity.pid

    def alive(self) -> bool:
        return is_alive(self.identity)

    def ask_fast_shutdown(self) -> None:
        self._signal(signal.SIGINT)

    def ask_immediate_shutdown(self) -> None:
        self._signal(signal.SIGQUIT)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return


def find_postmaster(data_folder: Path) -> Postmaster | None:
    """The living server of this folder, or None: no pid file, a stale one, or one still being written."""
    lines = _pid_file_lines(data_folder)
    if not lines or not lines[0].strip().lstrip("-").isdigit():
        return None
    identity = identity_of(abs(int(lines[0])))
    if identity is None or not _serves(identity.pid, data_folder):
        return None
    # Relative to the server's working folder; an absolute path stands alone.
    socket_folder = data_folder / (lines[4].strip() if len(lines) > 4 else "")
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return Postmaster(identity, socket_folder, ready)


def remove_stale_pid_file(data_folder: Path) -> None:
    """Removes the file when its number has gone to a stranger, which the server itself cannot tell apart.

    When the process is simply gone, the server handles the file itself, and better: it also looks for
    orphans of its predecessor that still use the shared memory.
    """
    lines = _pid_file_lines(data_folder)
    if not lines or not lines[0].strip().isdigit():
        return
    pid = int(lines[0])
    if psutil.pid_exists(pid) and find_postmaster(data_folder) is None:
        (data_folder / _PID_FILE).unlink(missing_ok=True)


def _pid_file_lines(data_folder: Path) -> list[str]:
    try:
        return (data_folder / _PID_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _serves(pid: int, data_folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if not process.name().startswith("postgres"):
            return False
        arguments = process.cmdline()
    except psutil.Error:
        return False
    if str(data_folder) in arguments:
        return True
    try:
        return Path(process.cwd()) == data_folder
    except psutil.Error:
        return False
