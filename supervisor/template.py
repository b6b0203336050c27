"""A process that services are forked from: it has imported their modules already, so that all share one copy in memory and
start, also after a crash, without importing anything.

`python -m supervisor.template SUPERVISOR CHANNEL MODULE...`: pid of the supervisor, descriptor of a socket to it, and what
to import. `supervisor.forking` is the other end. The standard library's forkserver does not do: it gives children neither
an environment nor a working folder nor streams of their own, ends them without an interpreter's end, and takes them along
when it dies.

A forked service is a child of the supervisor, as an executed one: an intermediate process forks it and ends, and the
supervisor has asked the kernel for orphans. So nobody stands between them, and a dead template costs no service.

What is imported here must neither start a thread nor open a file, and must draw nothing that siblings may not share. The
modules of the standard library that draw at import (random) do so again after a fork; the hash seed is one for all.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from supervisor.shim import die_with

REQUEST_BYTES = 1 << 20
_PR_SET_NAME = 15
# Among the fields of /proc/PID/stat behind the name, which may hold spaces itself: where the arguments begin and end.
_ARG_START, _ARG_END = 45, 46


def main() -> None:
    supervisor, channel, modules = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    gc.disable()  # a collection would leave holes, and what fills them later takes the page around it from all others
    for module in modules:
        _import_program(module)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        sys.exit(f"no service can be forked: {' or '.join(modules)} starts a thread when it is imported")
    sources = _sources()
    gc.freeze()
    with socket.socket(fileno=channel) as requests:
        request, output, permit = _serve(requests, sources)
    # From here on this is a service; what ends it travels up as in any other program.
    _become(request, supervisor, output, permit)
    program = request["argv"][3]
    # What runs has been imported only; it is loaded once more, as the main module.
    sys.modules.pop(f"{program}.__main__" if hasattr(sys.modules.get(program), "__path__") else program, None)
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def _import_program(module: str) -> None:
    """What `python -m module` would import. What fails here fails again, and is told, in the service itself."""
    try:
        if hasattr(import_module(module), "__path__"):
            import_module(f"{module}.__main__")
    except Exception:
        traceback.print_exc()


def _sources() -> dict[str, int]:
    """Every file that was imported, with the time it was written last."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return {file: _written(file) for file in files if file is not None}


def _written(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns  # noqa: PTH116 - more than a thousand of them before each start
    except OSError:
        return 0


def _serve(requests: socket.socket, sources: dict[str, int]) -> tuple[dict[str, Any], int, int]:
    """Answers every request with the pid of a new process, until the supervisor hangs up. Returns in new processes only:
    with the request, the stream for its output, and the pipe its permit to run comes from.

    Ends when a file is no longer as it was imported: a service that is restarted runs what is installed now.
    """
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 2)
        if not message or any(_written(file) != then for file, then in sources.items()):
            sys.exit(0)
        pid = _fork()
        if pid is None:
            output, permit = descriptors
            return json.loads(message), output, permit
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(pid).encode())


def _fork() -> int | None:
    """None in the new process; here its pid, 0 if there is none. When this returns it is the supervisor's child."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                os.close(writer)
                return None
            os.write(writer, str(pid).encode())
        except OSError:
            traceback.print_exc()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        pid = int(said.read() or 0)
    os.waitpid(between, 0)  # ended, so its child has been given away
    return pid


def _become(request: dict[str, Any], supervisor: int, output: int, permit: int) -> None:
    """Makes of this process what executing the request's program would have made."""
    argv, env = request["argv"], request["env"]
    os.setsid()
    if not os.read(permit, 1):  # the supervisor is gone, or no longer wants it
        os._exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    die_with(supervisor)
    os.environ.clear()
    os.environ.update(env)
    if request["cwd"] is not None:
        os.chdir(request["cwd"])
    sys.orig_argv[:] = argv
    sys.argv[1:] = argv[4:]
    _show_as(argv)
    gc.enable()


def _show_as(argv: Iterable[str]) -> None:
    """What `ps` and `pgrep` show: the module's name, and the command line written over the template's, which is longer.

    Linux takes a last byte that is not 0 for the sign that the area holds one text, which ends at its first 0. The
    environment behind it stays: by the mark in there the supervisor finds its own.
    """
    words = list(argv)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, words[3].encode())
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        start, size = int(fields[_ARG_START]), int(fields[_ARG_END]) - int(fields[_ARG_START])
        if size != len(Path("/proc/self/cmdline").read_bytes()):
            return  # not what is expected there
        text = os.fsencode(" ".join(words))[: size - 2]
        ctypes.memmove(start, text.ljust(size - 1, b"\0") + b".", size)


if __name__ == "__main__":
    main()
