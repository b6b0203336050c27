"""What the supervisor can keep alive: a description of a unit, and the ordinary one, a child process with a
log.

A child gets its own session (Ctrl-C in the terminal reaches the supervisor only), a mark in its environment
and, on Linux, the kernel's promise to die with its supervisor. Its output passes through the supervisor
into a bounded log file; the supervisor's event loop must therefore live in a thread that lives as long as
the children do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from supervisor.launch import Child, Command, ExecLauncher, Launcher
from supervisor.liveness import LivenessProbe
from supervisor.logfile import LogFile, tail
from supervisor.processes import MARK, InstanceMark, ProcessIdentity, identity_of
from supervisor.readiness import Probe, always_ready

_POLL_SECONDS = 0.05
_READ_BYTES = 65_536


class StartFailed(Exception):
    """A unit could not be brought up; the text says which one, why, and what its log ends with."""


@dataclass(frozen=True, slots=True)
class Exit:
    ok: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """Everything the supervisor needs to order, start, judge and stop a unit."""

    name: str
    depends_on: tuple[str, ...] = ()
    ready: Probe = always_ready
    alive: LivenessProbe | None = None
    """Asked for as long as it lives; without one, a process that runs is alive."""
    killed_when_hung: bool = True
    stop_order: int = 0
    """Lower stops first. Within one number, dependents stop before what they depend on."""
    ports: Mapping[str, int] = field(default_factory=dict)
    survives_supervisor: bool = False
    """Left alone when the supervisor is killed, to be adopted by the next: the database."""
    run_once: bool = False
    """A step: ready when it has ended with exit code 0, never started again."""
    parks: bool = True
    """Whether dying over and over parks it. A defect does; what only a full disk or a busy machine breaks does not."""
    start_timeout_seconds: float = 60.0
    stop_grace_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec(UnitSpec):
    """A child process. `env` is its whole environment: what is not named here does not leak into it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None


class Unit(Protocol):
    """One kept thing. `launch` begins a life, `wait` ends with it, `stop` ends it; `stop` may come at any
    moment.
    """

    @property
    def spec(self) -> UnitSpec: ...

    @property
    def note(self) -> str:
        """What its state alone does not say: what a launch waits for, or that a stop was none in order; mostly empty."""
        ...

    async def launch(self) -> ProcessIdentity: ...

    async def wait(self) -> Exit: ...

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> None: ...

    def last_lines(self) -> str: ...


class ProcessUnit:
    """A child process, its process group and its log file."""

    def __init__(self, spec: ProcessSpec, log_path: Path, mark: InstanceMark, launcher: Launcher | None = None) -> None:
        self._spec = spec
        self._launcher = launcher or ExecLauncher()
        self._log_path = log_path
        self._mark = mark
        self._log: LogFile | None = None
        self._process: Child | None = None
        self._output: int | None = None

    @property
    def spec(self) -> ProcessSpec:
        return self._spec

    @property
    def note(self) -> str:
        return ""

    async def launch(self) -> ProcessIdentity:
        if self._log is None:
            self._log = LogFile(self._log_path)
        self._process, self._output = await self._spawn()
        asyncio.get_running_loop().add_reader(self._output, self._copy_output)
        pid = self._process.pid
        return identity_of(pid) or ProcessIdentity(pid, time.time())

    async def wait(self) -> Exit:
        process = self._process
        assert process is not None, "wait() follows launch()"
        await _ended(process)
        self._finish(process)
        code = process.poll()
        assert code is not None
        return Exit(code == 0, describe_exit(code))

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> None:
        """SIGTERM, a bounded wait, then SIGKILL for the process and everything in its group."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        deadline = time.monotonic() + grace_seconds
        await _ended(process, lambda: time.monotonic() > deadline or hurry.is_set())
        if process.poll() is None:
            process.kill()
            await _ended(process)
        self._finish(process)

    def last_lines(self) -> str:
        return tail(self._log_path)

    async def _spawn(self) -> tuple[Child, int]:
        """The running child and the end of the pipe its output comes from."""
        command = Command(self._spec.argv, {**self._spec.env, MARK: str(self._mark)}, self._spec.cwd)
        output, child_output = os.pipe()
        try:
            os.set_blocking(output, False)
            return await self._launcher.launch(command, child_output), output
        except OSError as error:
            os.close(output)
            raise StartFailed(f"{self._spec.name}: cannot run {self._spec.argv[0]}: {error}") from error
        except asyncio.CancelledError:
            os.close(output)
            raise
        finally:
            os.close(child_output)

    def _finish(self, process: Child) -> None:
        """After the end: what it left in its group dies too, and the last of its output reaches the log."""
        if self._process is not process:
            return
        self._process = None
        with suppress(ProcessLookupError, PermissionError):  # nobody left; macOS: EPERM for a group of zombies
            os.killpg(process.pid, signal.SIGKILL)
        while self._copy_output():
            pass
        self._close_output()

    def _copy_output(self) -> bool:
        """Moves what is there from the pipe to the log; False when nothing more is to be had now."""
        if self._output is None or self._log is None:
            return False
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close_output()
            return False
        self._log.write(data)
        return True

    def _close_output(self) -> None:
        if self._output is not None:
            asyncio.get_running_loop().remove_reader(self._output)
            os.close(self._output)
            self._output = None


async def _ended(process: Child, enough: Callable[[], bool] = lambda: False) -> None:
    """Returns when the process has ended, or when there was `enough` waiting.

    Asks again and again: a signal for the end of a child reaches one handler per program at best, a thread per
    child is dearer, and asyncio's own wait also waits for every grandchild that still holds the output open.
    """
    while process.poll() is None and not enough():  # noqa: ASYNC110 - nothing to be woken by
        await asyncio.sleep(_POLL_SECONDS)


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
