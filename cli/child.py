"""Does in a forked child what is needed for a moment and loads much, so that a process that lives long stays small."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from cli.exits import CommandFailed, ExitCode


def in_child(check: Callable[[], None]) -> None:
    """Runs `check`, its imports too, in a child that ends with it; raises the CommandFailed that it ends with.

    In a process with threads, which do not survive a fork, and elsewhere than on Linux, `check` runs here.
    """
    if sys.platform != "linux" or len(list(Path("/proc/self/task").iterdir())) > 1:
        check()
        return
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
    failure = json.loads(said)
    if failure is not None:
        message, advice, code = failure
        raise CommandFailed(message, advice, ExitCode(code))


def _report(check: Callable[[], None], writer: int) -> None:
    """Never returns: what stands further up in the stack is the parent's to finish. A defect shows its traceback."""
    code = 1
    try:
        failure = None
        try:
            check()
        except CommandFailed as failed:
            failure = (failed.message, failed.advice, int(failed.code))
        os.write(writer, json.dumps(failure).encode())
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
