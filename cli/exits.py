"""What an exit code of `mesh` means, and the error that carries one out of a command."""

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Codes that scripts may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    RUNNING = 3  # already up where it must not be, or not up where it must


class CommandFailed(Exception):
    """Ends a command with words for the operator: what is wrong, and what to do."""

    def __init__(self, message: str, advice: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code


def not_a_file(path: Path) -> CommandFailed:
    """Of a path that is to name a file of candles."""
    what = f"{path} is no regular file" if path.exists() else f"there is no file {path}"
    return CommandFailed(what, "name a file of candles", ExitCode.USAGE)


def refuse(message: str, advice: str = "") -> CommandFailed:
    """A refusal of what was asked."""
    return CommandFailed(message, advice, ExitCode.USAGE)
