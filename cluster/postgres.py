"""PostgreSQL for trials in a cluster: `python -m cluster.postgres`, out of the same wheel that `mesh up` uses.

A cluster of one's own has an operator for databases (CloudNativePG in the overlay `prod`); a first look should need no second
image. The server listens on every address and asks for the password of DB_PASSWORD; PGDATA names its folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from supervisor.postgres_programs import PostgresFailed, PostgresPrograms

_PROGRAM_SECONDS = 300.0
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_SETTINGS = {
    "listen_addresses": "*",
    "unix_socket_directories": "/tmp",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",  # short statements only
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}
_WHO = "local all all trust\nhost all all all scram-sha-256\n"


def prepare(programs: PostgresPrograms, data: Path, name: str, user: str, password: str) -> None:
    """A cluster with its database, whole or not at all; one that is there keeps its data. PostgresFailed."""
    if not (data / "PG_VERSION").exists():
        draft = data.with_name(f"{data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        with tempfile.NamedTemporaryFile("w", prefix="password-") as secret:
            secret.write(password)
            secret.flush()
            asked = ("-U", user, f"--pwfile={secret.name}", "-A", "scram-sha-256")
            programs.run("initdb", "-D", str(draft), *asked, *_LOCALE)
        _create_database(programs, draft, name)
        draft.rename(data)
    # Whoever mounts a volume may let its group in, and the server refuses such a folder.
    data.chmod(0o700)
    (data / "pg_hba.conf").write_text(_WHO)


def _create_database(programs: PostgresPrograms, data: Path, name: str) -> None:
    """By a server of one statement, before anybody may connect."""
    quoted = name.replace('"', '""')
    command = (str(programs.path("postgres")), "--single", "-D", str(data), "postgres")
    statement = f'CREATE DATABASE "{quoted}"\n'
    done = subprocess.run(command, input=statement, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise PostgresFailed(f"the database {name} cannot be made: {done.stderr.strip()}")


def serve(programs: PostgresPrograms, data: Path, port: int) -> int:
    """Runs the server until a signal asks for its end; gives its exit code.

    SIGTERM means "when everybody has gone" to PostgreSQL, which is longer than anybody waits here: it gets SIGINT instead,
    which ends the sessions and writes everything.
    """
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen((str(programs.path("postgres")), "-D", str(data), "-p", str(port), *settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.send_signal(signal.SIGINT))
    return server.wait()


def main() -> None:
    """Leaves by SystemExit."""
    try:
        data, name, user, password = (os.environ[one] for one in ("PGDATA", "DB_NAME", "DB_USER", "DB_PASSWORD"))
    except KeyError as missing:
        sys.exit(f"postgres needs {missing.args[0]}")
    programs = PostgresPrograms(_PROGRAM_SECONDS)
    try:
        prepare(programs, Path(data), name, user, password)
    except (PostgresFailed, OSError) as error:
        sys.exit(str(error))
    sys.exit(serve(programs, Path(data), int(os.environ.get("DB_PORT", "5432"))))


if __name__ == "__main__":
    main()
