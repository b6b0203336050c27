"""A commit that was answered is there after a kill -9 of the whole server, whatever its configuration says."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from cli.doctor import Level, _inside
from meshkit import database
from meshkit.database_link import DatabaseAddress
from meshkit.errors import Misconfigured
from meshkit.kit import Kit
from meshkit.settings import KitSettings

if TYPE_CHECKING:
    from tests.supervise.conftest import Mesh

# Everything that can be said against it: the server's file, the database, the role. The writer of the log sleeps long, so
# that a commit which did not wait for the disk is surely lost with the process.
CARELESS = (
    "ALTER SYSTEM SET synchronous_commit = off",
    "ALTER SYSTEM SET wal_writer_delay = '10s'",
    "ALTER SYSTEM SET wal_writer_flush_after = '64MB'",
    "ALTER DATABASE mesh SET synchronous_commit = off",
    "ALTER ROLE postgres SET synchronous_commit = off",
)


def chosen(mesh: Mesh) -> KitSettings:
    address = mesh.postgres.address
    return KitSettings(service_name="toy", port=0, db_host=address.host, db_name=address.dbname, db_user=address.user)


async def say(mesh: Mesh, *statements: str) -> None:
    connection = await asyncpg.connect(**chosen(mesh).database_address.arguments("test"))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def kill_whole(mesh: Mesh, pid: int) -> None:
    """No process of the server gets to write what it has not written yet."""
    server = psutil.Process(pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    for process in processes:
        process.kill()
    mesh.wait_until(lambda: not mesh.postgres.alive())


async def test_an_answered_commit_survives_a_kill_whatever_the_server_is_set_to(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    mesh.postgres.start()
    await say(mesh, "DROP TABLE IF EXISTS intents", "CREATE TABLE intents (who text)", *CARELESS)
    mesh.postgres.stop()
    pid = mesh.postgres.start().pid
    address = mesh.postgres.address
    url = f"postgresql+asyncpg://{address.user}@/{address.dbname}?host={address.host}"
    careless = create_async_engine(url, poolclass=NullPool)
    ours = database.create_engine(chosen(mesh))
    try:
        async with ours.begin() as connection:
            assert (await connection.execute(text("SHOW synchronous_commit"))).scalar_one() == "on"
            await connection.execute(text("INSERT INTO intents VALUES ('ours')"))
        async with careless.begin() as connection:
            assert (await connection.execute(text("SHOW synchronous_commit"))).scalar_one() == "off"
            await connection.execute(text("INSERT INTO intents VALUES ('as the server likes')"))
        kill_whole(mesh, pid)
        mesh.postgres.start()
        async with ours.connect() as connection:
            assert (await connection.execute(text("SELECT who FROM intents"))).scalars().all() == ["ours"]
    finally:
        await ours.dispose()
        await careless.dispose()
        await say(mesh, "ALTER SYSTEM RESET ALL", "ALTER ROLE postgres RESET ALL", "ALTER DATABASE mesh RESET ALL")


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
async def test_a_server_that_may_lose_what_it_stored_is_refused_in_words(mesh_with_ledger: Mesh, name: str) -> None:
    mesh = mesh_with_ledger
    mesh.postgres.start()
    before: Kit[Any] = Kit(chosen(mesh))
    await before.check_database()
    await say(mesh, f"ALTER SYSTEM SET {name} = off", "SELECT pg_reload_conf()")
    after: Kit[Any] = Kit(chosen(mesh))
    try:
        with pytest.raises(Misconfigured, match=f"{name}=off.*ALTER SYSTEM SET {name} = on"):
            await after.check_database()
        await before.check_database()
        with pytest.raises(Misconfigured, match=f"{name}=off"):
            await before.check_durability()
        connection = await asyncpg.connect(
            **DatabaseAddress.of_variables(mesh.postgres.address.environment()).arguments("t")
        )
        (finding,) = await _inside(connection, "here")
        await connection.close()
        assert finding.level is Level.FAIL and f"{name}=off" in finding.seen
        await say(mesh, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
        await after.check_database()
        await before.check_database()
        await before.check_durability()
    finally:
        await before.close()
        await after.close()
        await say(mesh, "ALTER SYSTEM RESET ALL")
