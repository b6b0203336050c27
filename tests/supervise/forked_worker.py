"""A service to be forked or executed: `python -m tests.supervise.forked_worker WHAT [...]` reports what it is, or, once the
file that is named last is there, ends.
"""

import atexit
import json
import os
import random
import secrets
import signal
import ssl
import sys
import time
import uuid
from pathlib import Path

from tradekit import ids

# Also drawn while a template imports this: what is seeded there must not go on alike in its children.
random.random()
ssl.RAND_bytes(1)


def _uuid7() -> str:
    return str(ids.new_request_id())


def report() -> dict[str, object]:
    """Everything that a program is given by whoever starts it."""
    main = sys.modules["__main__"]
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "main": [main.__spec__ and main.__spec__.name, main.__file__, main.__package__, __name__],
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "path": sys.path,
        "flags": list(sys.flags),
        "descriptors": {entry.name: _target(entry) for entry in Path("/proc/self/fd").iterdir()},
        "signals": {number.name: str(signal.getsignal(number)) for number in signal.valid_signals() if number < 32},  # type: ignore[union-attr]
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "leads_session": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
        "umask": os.umask(0o077),
    }


def _target(entry: Path) -> str:
    """Without the number of a pipe; empty for the descriptor that lists the folder."""
    try:
        return str(entry.readlink()).partition("[")[0]
    except OSError:
        return ""


def say(found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    what, *rest = sys.argv[1:]
    if what in ("exit", "words", "raise", "kill"):
        while not Path(rest[-1]).exists():
            time.sleep(0.02)
    match what:
        case "report":
            say(report())
        case "random":
            say([random.random(), str(uuid.uuid4()), ssl.RAND_bytes(8).hex(), secrets.token_hex(8), _uuid7()[-20:]])
        case "exit":
            atexit.register(print, "said at exit")
            sys.exit(int(rest[0]))
        case "words":
            sys.exit("these words")
        case "raise":
            raise LookupError("a defect")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


if __name__ == "__main__":
    main()
