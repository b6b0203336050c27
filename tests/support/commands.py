"""A command of `mesh` beside a service in this process.

The command is a process of its own: gRPC for asyncio lives in one thread of a process, and the service has it here.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and everything that it printed."""

    exit_code: int
    output: str


async def mesh(*words: str, typed: str = "") -> Ran:
    """Runs `mesh` with these words in this environment; `typed` answers what it asks."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *words),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate(typed.encode())
    return Ran(process.returncode or 0, printed.decode())
