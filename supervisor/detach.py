"""Runs the supervisor without a terminal: the caller starts it in a session of its own and waits for its
word.

The word comes over a pipe, one JSON line each: progress, then ready or failed. The pipe closing without a
word means it died; then its log is shown.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from supervisor.home import MeshHome
from supervisor.logfile import rotate, tail
from supervisor.starting import note_start
from supervisor.unit import StartFailed

ANNOUNCE_VARIABLE = "MESH_ANNOUNCE_FD"


@dataclass(frozen=True, slots=True)
class Detached:
    pid: int
    summary: str


class Announcer:
    """The supervisor's end. Does nothing when nobody started it detached; a caller who left is no error."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        number = environment.get(ANNOUNCE_VARIABLE)
        self._descriptor = int(number) if number is not None else None
        if self._descriptor is not None:
            os.set_inheritable(self._descriptor, False)

    def progress(self, text: str) -> None:
        self._send("progress", text)

    def ready(self, summary: str) -> None:
        self._send("ready", summary)
        self._close()

    def failed(self, reason: str) -> None:
        self._send("failed", reason)
        self._close()

    def _send(self, word: str, text: str) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, json.dumps({"word": word, "text": text}).encode("ascii") + b"\n")
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def start_detached(
    home: MeshHome, argv: Sequence[str], env: Mapping[str, str], on_progress: Callable[[str], None]
) -> Detached:
    """Returns when the detached process says it is ready; raises `StartFailed` when it cannot be.

    There is no deadline here: every step of the start has its own. Interrupted, it takes the process back.
    """
    home.prepare()
    log_path = home.log_file("supervisor")
    rotate(log_path)
    reader, writer = os.pipe()
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            argv,
            env={**env, ANNOUNCE_VARIABLE: str(writer)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writer,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(reader)
        raise StartFailed(f"cannot run {argv[0]}: {error}") from error
    finally:
        os.close(writer)
        os.close(log)
    # Before it can say so itself.
    note_start(home, process.pid)
    try:
        with os.fdopen(reader, encoding="ascii") as lines:
            for line in lines:
                message = json.loads(line)
                if message["word"] == "ready":
                    return Detached(process.pid, message["text"])
                if message["word"] == "failed":
                    raise StartFailed(message["text"])
                on_progress(message["text"])
    except KeyboardInterrupt:
        process.terminate()
        raise
    raise StartFailed(f"the supervisor ended before it was ready; {log_path} ends with:\n{tail(log_path)}")
