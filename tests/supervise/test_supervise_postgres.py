"""A real PostgreSQL: first start, adoption, stale pid files, restart on death, stop, and where its socket lies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest

from supervisor.embedded_postgres import EmbeddedPostgres, socket_folder_for
from supervisor.home import MeshHome
from supervisor.instance import bring_down
from supervisor.postgres_programs import PostgresFailed
from supervisor.postmaster import find_postmaster, remove_stale_lock_files

if TYPE_CHECKING:
    from tests.supervise.conftest import Mesh


async def ask(server: EmbeddedPostgres, query: str) -> object:
    address = server.address
    connection = await asyncpg.connect(
        host=address.host, port=address.port, user=address.user, database=address.dbname, timeout=60
    )
    try:
        return await connection.fetchval(query, timeout=60)
    finally:
        await connection.close(timeout=60)


def same_folder(mesh: Mesh) -> EmbeddedPostgres:
    """A second owner of the same cluster, as after a crash of the first."""
    return EmbeddedPostgres(mesh.home.postgres, mesh.home.log_file("postgres"), "mesh")


async def test_a_fresh_folder_becomes_a_durable_server_on_a_unix_socket_only(mesh: Mesh) -> None:
    mesh.home.prepare()
    postmaster = mesh.postgres.start()
    assert await ask(mesh.postgres, "SELECT current_database()") == "mesh"
    assert await ask(mesh.postgres, "SHOW server_version_num") >= "180000"
    assert await ask(mesh.postgres, "SHOW fsync") == "on"
    assert await ask(mesh.postgres, "SHOW max_connections") == "100"
    assert await ask(mesh.postgres, "SHOW TimeZone") == "UTC"
    assert await ask(mesh.postgres, "SELECT 'é' < 'f'") is False  # code points, the same on every system
    tcp = [c for c in psutil.Process(postmaster.pid).net_connections(kind="inet") if c.status == "LISTEN"]
    assert tcp == []
    socket_file = Path(mesh.postgres.address.host) / ".s.PGSQL.5432"
    assert socket_file.stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        assert psutil.Process(postmaster.pid).uids().effective != 0
    assert mesh.postgres.address.environment()["DB_HOST"] == str(mesh.home.postgres)


async def test_a_live_server_is_adopted_and_a_second_database_made_in_it(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    first = mesh.postgres.start()
    assert not mesh.postgres.adopted
    second = EmbeddedPostgres(mesh.home.postgres, mesh.home.log_file("postgres"), 'replay "1" o\'clock')
    assert second.start().identity == first.identity
    assert second.adopted
    assert await ask(second, "SELECT current_database()") == 'replay "1" o\'clock'
    assert second.stop()
    assert not mesh.postgres.alive()
    assert not second.stop()


async def test_a_server_outlives_the_kill_of_its_supervisor_and_its_ledger_survives(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    plan: list[dict[str, object]] = [
        {"name": "postgres", "postgres": True},
        {"name": "worker", "argv": mesh.SLEEPER, "depends_on": ["postgres"]},
    ]
    supervisor = mesh.up_and_ready(plan)
    await ask(mesh.postgres, "CREATE TABLE book AS SELECT 42 AS entry")
    server, worker = mesh.pid_of("postgres"), mesh.pid_of("worker")
    supervisor.kill()
    supervisor.wait()
    mesh.wait_until(lambda: mesh.gone(worker))
    assert not mesh.gone(server)
    supervisor = mesh.up_and_ready(plan)
    assert mesh.pid_of("postgres") == server
    assert await ask(mesh.postgres, "SELECT entry FROM book") == 42
    supervisor.kill()
    supervisor.wait()
    report = bring_down(mesh.home, mesh.postgres)
    assert report.postgres_stopped
    assert report.supervisor_pid is None
    assert mesh.gone(server)


async def test_a_killed_server_is_started_again_by_the_supervisor_and_stopped_last(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    supervisor = mesh.up_and_ready(
        [
            {"name": "postgres", "postgres": True},
            {"name": "worker", "argv": mesh.SLEEPER, "depends_on": ["postgres"]},
        ]
    )
    first, worker = mesh.pid_of("postgres"), mesh.pid_of("worker")
    os.kill(first, signal.SIGKILL)
    mesh.wait_until(lambda: mesh.ready_pid("postgres") not in (None, first))
    assert await ask(mesh.postgres, "SELECT 1") == 1
    assert mesh.pid_of("worker") == worker
    supervisor.terminate()
    assert supervisor.wait(timeout=120) == 0
    assert mesh.text().index("stopped worker") < mesh.text().index("stopped postgres")
    assert find_postmaster(mesh.home.postgres) is None


async def test_a_session_left_by_a_killed_server_does_not_stop_the_next(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    first = mesh.postgres.start()
    address = mesh.postgres.address
    holder = await asyncpg.connect(host=address.host, user=address.user, database=address.dbname, timeout=60)
    os.kill(first.pid, signal.SIGKILL)
    mesh.wait_until(lambda: not mesh.postgres.alive())
    second = mesh.postgres.start()
    assert second.pid != first.pid
    holder.terminate()
    assert await ask(mesh.postgres, "SELECT 1") == 1


def test_a_stale_pid_file_that_names_a_stranger_is_no_server(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    mesh.postgres.start()
    pid_file = mesh.home.postgres / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    mesh.postgres.stop()
    stranger = subprocess.Popen(mesh.SLEEPER)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        assert find_postmaster(mesh.home.postgres) is None
        assert not mesh.postgres.stop()
        second = same_folder(mesh)
        assert second.start().pid != stranger.pid
        assert not second.adopted
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("of", ["a stranger", "a dead process that nobody has taken note of"])
def test_locks_with_the_number_of_no_server_do_not_keep_one_from_starting(mesh_with_ledger: Mesh, of: str) -> None:
    mesh = mesh_with_ledger
    mesh.postgres.start()
    mesh.postgres.stop()
    argv = [sys.executable, "-c", "import time; time.sleep(600)" if of == "a stranger" else ""]
    other = subprocess.Popen(argv)
    try:
        if of != "a stranger":
            mesh.wait_until(lambda: psutil.Process(other.pid).status() == psutil.STATUS_ZOMBIE)
        folder = mesh.postgres.address.host
        for path in (mesh.home.postgres / "postmaster.pid", Path(folder) / ".s.PGSQL.5432.lock"):
            path.write_text(f"{other.pid}\n{mesh.home.postgres}\n1700000000\n5432\n{folder}\n\n\nready\n")
        server = same_folder(mesh)
        server.start()
        assert not server.adopted
        server.stop()
    finally:
        other.kill()
        other.wait()


def test_a_pid_file_without_a_process_is_left_to_the_server(mesh: Mesh) -> None:
    mesh.home.postgres.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid_file = mesh.home.postgres / "postmaster.pid"
    for content in (f"{ended.pid}\n", "", "nonsense\n"):
        pid_file.write_text(content)
        assert find_postmaster(mesh.home.postgres) is None
        remove_stale_lock_files(mesh.home.postgres, mesh.home.postgres)
        assert pid_file.exists()


async def test_a_deep_folder_gets_a_short_private_socket_folder(mesh: Mesh) -> None:
    deep = mesh.home.root / ("long-name-" * 6) / ("with space & ' quote-" * 3) / "postgres"
    deep.parent.mkdir(parents=True)
    server = EmbeddedPostgres(deep, mesh.home.root / "postgres.log", "mesh")
    folder = socket_folder_for(deep)
    assert folder != deep
    try:
        server.start()
        assert server.address.host == str(folder)
        assert len(f"{folder}/.s.PGSQL.5432") < 104
        assert folder.stat().st_mode & 0o077 == 0
        assert await ask(server, "SELECT 1") == 1
    finally:
        server.stop()
        folder.rmdir()


def test_a_socket_folder_of_somebody_else_is_not_trusted(mesh: Mesh) -> None:
    deep = mesh.home.root / ("d" * 120) / "postgres"
    deep.parent.mkdir(parents=True)
    folder = socket_folder_for(deep)
    folder.symlink_to(mesh.home.root)
    try:
        with pytest.raises(PostgresFailed, match="somebody else"):
            EmbeddedPostgres(deep, mesh.home.root / "postgres.log", "mesh").start()
    finally:
        folder.unlink()


def test_a_cluster_of_another_version_is_refused_untouched(mesh: Mesh) -> None:
    mesh.home.postgres.mkdir()
    (mesh.home.postgres / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresFailed, match="holds a PostgreSQL 16 cluster"):
        mesh.postgres.start()


async def test_a_cluster_that_was_half_made_is_made_anew(mesh: Mesh) -> None:
    mesh.home.prepare()
    half = mesh.home.root / "postgres.new"
    (half / "base").mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    mesh.postgres.start()
    assert await ask(mesh.postgres, "SELECT 1") == 1
    assert not half.exists()


def modes(folder: Path) -> list[int]:
    return [path.stat().st_mode for path in (folder, *folder.parents)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's database runs as another account")
async def test_as_root_no_folder_is_opened_for_the_databases_account(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data below a private folder, and programs that the account could not read where they are installed."""
    private = mesh.home.root / "private"
    private.mkdir(mode=0o700)
    home = MeshHome.at(private / "home")
    home.prepare()
    copies = mesh.home.root.with_name(f"{mesh.home.root.name}-programs")
    monkeypatch.setattr("supervisor.postgres_programs.COPIES", copies)
    monkeypatch.setattr("supervisor.postgres_programs.may_be_read_by_others", lambda tree: False)
    before = modes(home.root)
    server = EmbeddedPostgres(home.postgres, home.log_file("postgres"), "mesh")
    try:
        for _ in range(2):
            postmaster = server.start()
            assert await ask(server, "SELECT 1") == 1
            process = psutil.Process(postmaster.pid)
            assert process.uids().effective != 0
            assert Path(process.exe()).is_relative_to(copies)
            assert find_postmaster(home.postgres) is not None
            assert server.stop()
        assert modes(home.root) == before
        assert [path.name.startswith("postgres-18-") for path in copies.iterdir()] == [True]
    finally:
        server.stop()
        shutil.rmtree(copies, ignore_errors=True)
