"""How a process of this program is started in Python: by module, from this program's folders, and from no other.

Without -P, Python looks for modules in the folder it is started in first, where a file named like one of them may lie.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

_LONGEST_LINE = 1 << 20
ROOT = Path(__file__).resolve().parents[1]
# Where Python finds this program, and the code that is generated from its contracts.
PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "gen" / "python")))


def run_module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module."""
    return (sys.executable, "-P", "-m", name, *arguments)


def module_of(argv: Sequence[str]) -> str | None:
    """The module that a command of `run_module` runs; None for any other command."""
    return argv[3] if tuple(argv[:3]) == run_module("")[:3] and len(argv) > 3 else None


def python_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """With what the command needs to find this program; what it starts in turn is as careful."""
    return {**environment, "PYTHONPATH": PYTHONPATH, "PYTHONSAFEPATH": "1"}


@asynccontextmanager
async def running_module(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A module with its arguments as a child whose output is read; it and what it started end with the block."""
    process = await asyncio.create_subprocess_exec(
        *run_module(*arguments),
        env=python_environment(environment),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
