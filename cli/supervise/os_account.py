"""PostgreSQL refuses to run as root, so as root it gets an account of its own and a way to its files.

As an ordinary user nothing here does anything.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "pgserver"
_OTHERS_PASS = stat.S_IXOTH
_OTHERS_READ = stat.S_IROTH


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


def let_through(path: Path) -> None:
    """Adds the right to pass (not to list) to every folder above `path`, so that another account can reach
    it.
    """
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & _OTHERS_PASS:
            folder.chmod(mode | _OTHERS_PASS)


def let_read(folder: Path) -> None:
    """Makes an installed tree readable to others where a strict umask left it private."""
    if folder.stat().st_mode & (_OTHERS_PASS | _OTHERS_READ) == _OTHERS_PASS | _OTHERS_READ:
        return
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        passable = _OTHERS_PASS if path.is_dir() or mode & stat.S_IXUSR else 0
        path.chmod(mode | _OTHERS_READ | passable)


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
