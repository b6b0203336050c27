"""The entry of the container image: its first argument names the process, the rest are that process's own.

The name of a service or of a Python package of this program runs that (`risk`, `exchange_sim`); the few others are listed
here. The module takes this process over, so that a signal reaches it and nobody stands in between.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from supervisor.python_process import python_environment, run_module

_MODULES = {
    "call": "cluster.call",
    "exchange_sim": "exchange_sim",
    "mesh": "cli.main",
    "migrate": "cli.migration_job",
    "train": "cluster.training",
    "keys": "cluster.keys",
    "own-key": "cluster.own_key",
    "postgres": "cluster.postgres",
}
_NOT_KNOWN = 64  # EX_USAGE


def module_of(name: str) -> str | None:
    """The module of a process's name; None for a name that is none."""
    if name in _MODULES:
        return _MODULES[name]
    package = f"svc_{name}"
    return package if package.isidentifier() and find_spec(package) is not None else None


def main(arguments: Sequence[str]) -> NoReturn:
    """Becomes the process, or leaves by SystemExit where there is none of that name."""
    module = module_of(arguments[0]) if arguments else None
    if module is None:
        named = f"{arguments[0]!r} is no process of this image" if arguments else "name a process"
        sys.stderr.write(f"{named}: a service such as risk, or one of {', '.join(sorted(_MODULES))}\n")
        raise SystemExit(_NOT_KNOWN)
    command = run_module(module, *arguments[1:])
    os.execve(command[0], command, python_environment(os.environ))


if __name__ == "__main__":
    main(sys.argv[1:])
