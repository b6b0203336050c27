"""Starts Python services as forks of a template process (`supervisor.template`), which shares their modules among them.

Whatever the template cannot do is done as ever, by executing the program: another system than Linux, a program that is no
module, an environment that changes what is read at import, a template that does not come up. A template that dies takes no
service along; the next start makes a new one.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from supervisor.launch import Child, Command, ExecLauncher, execute
from supervisor.logfile import rotate
from supervisor.processes import MARK, InstanceMark
from supervisor.python_process import ROOT, module_of, run_module

_PR_SET_CHILD_SUBREAPER = 36
# The first request waits for all imports, on a busy machine too.
_ANSWER_SECONDS = 90.0
# What interpreter, C library and the libraries of the services read when they are loaded, before a service's own code
# runs. Everything else they read when they are used.
_READ_AT_IMPORT = (
    *("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LANG", "LC_", "TZ", "SSL", "OPENSSL_", "CRYPTOGRAPHY_"),
    *("GRPC_", "PROTOCOL_BUFFERS_", "OTEL_", "PROMETHEUS_", "prometheus_", "PYDANTIC_"),
)


class TemplateFailed(Exception):
    """The template did not fork; the text says why."""


class ForkedChild:
    """A process that another one forked for us and that is our child all the same."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:  # until it is waited for, nobody else gets its pid
            os.kill(self.pid, number)


class ForkLauncher:
    """A `Launcher`. `env` is what the template sees while it imports `modules`; its own words go to `log_path`."""

    def __init__(self, modules: Sequence[str], env: Mapping[str, str], log_path: Path, mark: InstanceMark) -> None:
        self._command = Command(run_module("supervisor.template"), {**env, MARK: str(mark)}, ROOT)
        self._modules = tuple(modules)
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._one_at_a_time = asyncio.Lock()
        self._usable = sys.platform == "linux"

    def __enter__(self) -> ForkLauncher:
        """Begins the imports, so that they are done when the first service is due."""
        if self._usable:
            try:
                self._start()
            except OSError:  # a full disk, say; the first service tries once more
                self._end()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    async def launch(self, command: Command, output: int) -> Child:
        child = await self._fork(command, output) if self._suits(command) else None
        return child or await ExecLauncher().launch(command, output)

    def _suits(self, command: Command) -> bool:
        return module_of(command.argv) is not None and read_at_import(command.env) == read_at_import(self._command.env)

    async def _fork(self, command: Command, output: int) -> Child | None:
        async with self._one_at_a_time:
            # The template may have died, or what it imported have changed, since it was last asked: then a new one is.
            for _ in range(2):
                if not self._usable:
                    return None
                try:
                    return await self._ask(command, output)
                except (TemplateFailed, TimeoutError, OSError):
                    self._end()
                except asyncio.CancelledError:
                    self._end()  # its answer would be taken for that to the next request
                    raise
            self._usable = False
            return None

    async def _ask(self, command: Command, output: int) -> Child:
        """A running child. It runs only once it has our permit: one that nobody waits for any more ends by itself."""
        channel = self._channel or self._start()
        request = {"argv": command.argv, "env": dict(command.env), "cwd": command.cwd and str(command.cwd)}
        permit, permitted = os.pipe()
        try:
            with _adopting_orphans():
                socket.send_fds(channel, [json.dumps(request).encode()], [output, permit])
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer = await asyncio.get_running_loop().sock_recv(channel, 64)
            child = ForkedChild(int(answer or 0))
            if not child.pid or child.poll() is not None:  # OSError, if it is not ours
                raise TemplateFailed("the template died, or could not fork")
            os.write(permitted, b"y")
            return child
        finally:
            os.close(permit)
            os.close(permitted)

    def _start(self) -> socket.socket:
        rotate(self._log_path)
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        arguments = (str(os.getpid()), str(theirs.fileno()), *self._modules)
        command = Command((*self._command.argv, *arguments), self._command.env, self._command.cwd)
        try:
            self._process = execute(command, log, theirs.fileno())
        finally:
            theirs.close()
            os.close(log)
        return self._channel

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def read_at_import(env: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment on which a program and the template that it is forked from must agree."""
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_IMPORT)}


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Meanwhile a descendant whose parent ends becomes our child. Not for longer: nobody waits for other orphans."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0)
