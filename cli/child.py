"""Does in a forked child what is needed for a moment and loads much, so that a process that lives long stays small."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cli.exits import CommandFailed, ExitCode

T = TypeVar("T", None, str)


def in_child(check: Callable[[], T]) -> T:
    """Runs `check`, its imports too, in a child that ends with it; gives what it gives, or raises the CommandFailed that it
    ends with.

    In a process with threads, which do not survive a fork, and elsewhere than on Linux, `check` runs here.
    """
    if sys.platform != "linux" or len(list(Path("/proc/self/task").iterdir())) > 1:
        return check()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _report(check, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    if not said:
        raise CommandFailed("a check before the start ended without a verdict", "see the lines above")
    failure, found = json.loads(said)
    if failure is not None:
        message, advice, code = failure
        raise CommandFailed(message, advice, ExitCode(code))
    result: T = found
    return result


def _report(check: Callable[[], str | None], writer: int) -> None:
    """Never returns: what stands further up in the stack is the parent's to finish. A defect shows its traceback."""
    code = 1
    try:
        failure, found = None, None
        try:
            found = check()
        except CommandFailed as failed:
            failure = (failed.message, failed.advice, int(failed.code))
        os.write(writer, json.dumps((failure, found)).encode())
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
