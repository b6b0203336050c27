"""Those who are killed: an executor, an exchange, a PostgreSQL server. Each is a process of its own; kill -9 is the kernel's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from supervisor.embedded_postgres import EmbeddedPostgres, PostgresSettings
from supervisor.forking import ForkLauncher
from supervisor.launch import Child, Command
from supervisor.logfile import tail
from supervisor.postmaster import find_postmaster
from supervisor.processes import InstanceMark
from supervisor.python_process import ROOT, python_environment, run_module

TEMPLATE_DATABASE = "trading"
_IMPORTED = ("svc_executor", "exchange_sim", "exchange_sim.market_generated")
_END_SECONDS = 20.0
_LOOK_SECONDS = 0.005


def base_environment() -> dict[str, str]:
    """What every Python process here gets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ") if name in os.environ}
    # numpy shall start no threads, and nothing is compiled twice.
    return python_environment({**kept, "OPENBLAS_NUM_THREADS": "1", "GRPC_VERBOSITY": "ERROR", "PYTHONUNBUFFERED": "1"})


def launcher_of(folder: Path, *modules: str) -> ForkLauncher:
    """Starts executors, exchanges and `modules` as forks of one process that has imported them."""
    mark = InstanceMark(str(folder), "chaos")
    return ForkLauncher((*_IMPORTED, *modules), base_environment(), folder / "template.log", mark)


class Died(Exception):
    """A process ended that nobody had killed."""


async def _until(gone: Callable[[], bool], who: str) -> None:
    """Returns when it is so; TimeoutError if a killed process does not end."""
    end = time.monotonic() + _END_SECONDS
    while not gone():
        if time.monotonic() > end:
            raise TimeoutError(f"{who} was killed and does not end")
        await asyncio.sleep(_LOOK_SECONDS)


@dataclass
class Program:
    """A Python program: `module` with its environment, words into `log`."""

    module: str
    environment: Mapping[str, str]
    log: Path
    launcher: ForkLauncher
    _child: Child | None = field(default=None, init=False)

    async def start(self) -> None:
        """Starts it; what it serves is not waited for."""
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            command = Command(run_module(self.module), {**base_environment(), **self.environment}, ROOT)
            self._child = await self.launcher.launch(command, output)
        finally:
            os.close(output)

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        if self._child is None:
            return
        child, self._child = self._child, None
        child.kill()
        await _until(lambda: child.poll() is not None, self.module)

    def must_live(self) -> None:
        """Died, if it ended by itself."""
        if self._child is not None and self._child.poll() is not None:
            raise Died(f"{self.module} ended with {self._child.poll()}:\n{tail(self.log)}")


def _bury_orphans() -> None:
    """Sessions of a killed server may have become children of this process, which adopts orphans whenever it forks a program."""
    for child in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if child.name() == "postgres" and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


@dataclass
class Database:
    """A PostgreSQL server of its own with the product's settings, but for its memory."""

    folder: Path
    log: Path
    server: EmbeddedPostgres = field(init=False)

    def __post_init__(self) -> None:
        self.server = EmbeddedPostgres(
            self.folder, self.log, TEMPLATE_DATABASE, PostgresSettings(max_connections=40, shared_buffers_mb=32)
        )

    async def start(self) -> None:
        """Returns when it accepts connections, after its recovery."""
        _bury_orphans()
        await asyncio.to_thread(self.server.start)

    async def kill(self) -> None:
        """SIGKILL of the postmaster, as in `make drill`; returns when it is gone. Its sessions end when they see that."""
        postmaster = find_postmaster(self.folder)
        if postmaster is None:
            return
        os.kill(postmaster.pid, signal.SIGKILL)
        await _until(lambda: not self.server.alive(), "PostgreSQL")

    async def stop(self) -> None:
        """In order."""
        await asyncio.to_thread(self.server.stop)

    def copy_to(self, folder: Path) -> None:
        """The cluster once more, while its server is stopped."""
        subprocess.run(["cp", "-a", str(self.folder), str(folder)], check=True)
