"""How a child process comes to be: what is asked for, what is given back, and the ordinary way, a program that is executed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SHIM = Path(__file__).with_name("shim.py")


@dataclass(frozen=True, slots=True)
class Command:
    """A program to be started; `env` is its whole environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None


class Child(Protocol):
    """A child of this process, as `subprocess.Popen` has it: `returncode` is minus the signal for one that was killed."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """The return code, None while it runs."""

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Launcher(Protocol):
    """Starts a child in a session of its own: stdin empty, stdout and stderr into `output`, nothing else inherited, and on
    Linux the kernel's promise to die with this process.
    """

    async def launch(self, command: Command, output: int) -> Child:
        """Raises OSError. Cancelled, it leaves no child."""
        ...


class ExecLauncher:
    """Starts a program by executing it."""

    async def launch(self, command: Command, output: int) -> Child:
        return execute(command, output)


def execute(command: Command, output: int, *inherited: int) -> subprocess.Popen[bytes]:
    """A child as a `Launcher` makes it, to which the descriptors `inherited` are left. Raises OSError."""
    return subprocess.Popen(
        _supervised(command.argv),
        env=command.env,
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=inherited,
        start_new_session=True,
    )


def _supervised(argv: tuple[str, ...]) -> tuple[str, ...]:
    if sys.platform != "linux":
        return argv
    return (sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), *argv)
