"""PostgreSQL refuses to run as root, so as root it gets an account of its own.

Nobody else's way is opened for it: its programs are copied where it cannot reach them, and its data are entered before the
account changes. As an ordinary user nothing here does anything.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "pgserver"


class AccountUnavailable(Exception):
    """The account cannot be made; the text says what the operator can do instead."""


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


def database_account() -> Account | None:
    """The account the database runs as; None means the current one."""
    if os.geteuid() != 0:
        return None
    entry = _look_up() or _create()
    return Account(entry.pw_uid, entry.pw_gid)


def may_be_read_by_others(tree: Path) -> bool:
    """Whether every account may pass the folders above an installed tree and read what it holds."""
    passes = all(folder.stat().st_mode & stat.S_IXOTH for folder in (tree, *tree.parents))
    return passes and all(_readable(path) for path in (tree, *tree.rglob("*")))


def _readable(path: Path) -> bool:
    """To read, and to enter or run where the owner may."""
    if path.is_symlink():
        return True
    mode = path.stat().st_mode
    return bool(mode & stat.S_IROTH and (mode & stat.S_IXOTH or not mode & stat.S_IXUSR))


def copy_for_others(trees: Sequence[Path], base: Path, target: Path) -> None:
    """Copies of `trees` at the same places below `target` as they have below `base`: all of them or none, which everybody
    may read and only this account may write. OSError if they cannot be made.
    """
    if target.exists():
        return
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for tree in trees:
            shutil.copytree(tree, draft / tree.relative_to(base), symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        with suppress(OSError):  # another process was faster
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _look_up() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    if shutil.which("useradd"):
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/sh", ACCOUNT]
    elif shutil.which("adduser"):  # BusyBox
        command = ["adduser", "-S", "-D", "-H", "-s", "/bin/sh", ACCOUNT]
    else:
        raise AccountUnavailable(_advice("there is neither useradd nor adduser here"))
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    for _ in range(20):  # another process may be making the same account
        if (entry := _look_up()) is not None:
            return entry
        time.sleep(0.1)
    raise AccountUnavailable(_advice(result.stderr.strip() or f"{command[0]} failed"))


def _advice(reason: str) -> str:
    return (
        f"PostgreSQL must not run as root and the account '{ACCOUNT}' cannot be made ({reason}). "
        "Run as an ordinary user, or set DB_HOST to a PostgreSQL of your own."
    )
