"""Secrets in files: one rule for what makes a file private, and the only way to read one.

A file that another user could have read or changed is no secret, so it is refused in words, never used.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meshkit.errors import Misconfigured

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST_BYTES = 64 * 1024


def why_not_private(path: Path, found: os.stat_result) -> str | None:
    """Why others could have touched it, with what to do; None if it is ours (or root's), itself, and closed to others."""
    if stat.S_ISLNK(found.st_mode):
        return f"{path} is a symbolic link; put the file itself there"
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {found.st_uid}; it must belong to the user that runs the mesh"
    if found.st_mode & _OTHERS:
        wanted = "700" if stat.S_ISDIR(found.st_mode) else "600"
        return (
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}). Run: chmod {wanted} {path}. "
            "If somebody may have read it, delete the key instead: the next start makes a new one, unless it is one that an "
            "exchange handed out, which is replaced there."
        )
    return None


def read_private(path: Path) -> str:
    """Text of a private file. Misconfigured if it is missing, unreadable, too large, or others could have touched it."""
    try:
        # Opened first and looked at afterwards: what is examined is what is read, whatever happens to the name.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = why_not_private(path, path.lstat()) if path.is_symlink() else None
        raise Misconfigured(why or f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        why = why_not_private(path, found)
        if why is None and not stat.S_ISREG(found.st_mode):
            why = f"{path} is not a file"
        if why is None and found.st_size > _LARGEST_BYTES:
            why = f"{path} is larger than {_LARGEST_BYTES} bytes, so it is not what it should be"
        if why is not None:
            raise Misconfigured(why)
        try:
            return file.read().decode("ascii")
        except UnicodeDecodeError:
            raise Misconfigured(f"{path} holds something else than ASCII text") from None
