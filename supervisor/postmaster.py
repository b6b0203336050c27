"""Recognises a living PostgreSQL server of one data folder by its pid file, and never mistakes a stranger
for it.

The number in `postmaster.pid` may belong to anybody after a crash or a reboot; a process counts only if it
is a `postgres` whose working directory is this very folder (the server changes into it) or whose arguments
name it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisor.processes import ProcessIdentity, identity_of, is_alive

PORT = 5432  # only the name of the socket file
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

    @property
    def socket_file(self) -> Path:
        return self.socket_folder / f".s.PGSQL.{PORT}"

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


def server_processes(data_folder: Path) -> list[psutil.Process]:
    """The postmaster and its children, and children that outlived theirs: all work inside of the folder."""
    named = [process for process in psutil.process_iter() if _is_postgres(process)]
    return [process for process in named if _serves(process.pid, data_folder)]


def resume(data_folder: Path) -> None:
    """Lets stopped processes of the server go on (Ctrl-Z, SIGSTOP): they take no request to end until then."""
    for process in server_processes(data_folder):
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                process.resume()


def kill(data_folder: Path) -> int:
    """SIGKILL for all of them; says how many. PostgreSQL is made to recover from that: the next start replays its log."""
    processes = server_processes(data_folder)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    return len(processes)


def remove_stale_lock_files(data_folder: Path, socket_folder: Path) -> None:
    """Removes those of folder and socket whose number has gone to a stranger, or to a dead process that its parent has not
    taken note of yet: the server takes both for a server that lives.

    When the process is simply gone, the server handles the files itself, and better: it also looks for orphans of its
    predecessor that still use the shared memory. While there are any, nothing is removed.
    """
    if server_processes(data_folder):
        return
    for path in (data_folder / _PID_FILE, socket_folder / f".s.PGSQL.{PORT}.lock"):
        lines = _lines(path)
        number = lines[0].strip().lstrip("-") if lines else ""
        if number.isdigit() and psutil.pid_exists(int(number)):
            path.unlink(missing_ok=True)


def _pid_file_lines(data_folder: Path) -> list[str]:
    return _lines(data_folder / _PID_FILE)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("postgres")
    except psutil.Error:
        return False


def _serves(pid: int, data_folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if not _is_postgres(process):
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
