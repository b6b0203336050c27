"""One bounded log file per process: appended to, renamed away at start and when it grows past its limit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

LIMIT_BYTES = 20 * 1024 * 1024
KEPT_FILES = 3


class LogFile:
    """Appends raw output. A full disk costs log lines, never the process that writes them."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES, kept: int = KEPT_FILES) -> None:
        self._path = path
        self._limit = limit_bytes
        self._kept = kept
        rotate(path, kept)
        self._file: BinaryIO = self._open()

    def write(self, data: bytes) -> None:
        try:
            if self._file.tell() + len(data) > self._limit and self._file.tell() > 0:
                self._file.close()
                rotate(self._path, self._kept)
                self._file = self._open()
            self._file.write(data)
        except OSError:
            return

    def close(self) -> None:
        self._file.close()

    def _open(self) -> BinaryIO:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)


def rotate(path: Path, kept: int = KEPT_FILES) -> None:
    """NAME.log becomes NAME.log.1, and so on; the oldest goes. An empty or missing file stays."""
    if not path.exists() or path.stat().st_size == 0:
        return
    for number in range(kept - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def tail(path: Path, lines: int = 20, at_most_bytes: int = 16_384) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - at_most_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
