"""A service that comes before the migration waits for it, and says so."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from meshkit.background import after
from meshkit.errors import Unavailable
from meshkit.kit import Kit
from meshkit.spec import Task
from schema.migrate import migrate
from schema.presence import schema_check
from schema.tables import metadata
from tests.meshkit.toys import settings


async def test_what_is_not_there_is_named_until_it_is(database: Any) -> None:
    kit: Kit[Any] = Kit(settings(db_host=database.host, db_name=database.name, db_user="postgres"))
    check = schema_check(kit)
    began = asyncio.Event()

    async def work() -> None:
        began.set()

    [task] = after(check, [Task("work", work)], kit)
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE feature_states RENAME COLUMN shard TO later"))
    running = asyncio.create_task(task.run())
    try:
        with pytest.raises(
            Unavailable, match=r"older than this version: feature_states\.shard is not there; migrate it"
        ):
            await check.run()
        assert not began.is_set()
        async with database.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE feature_states RENAME COLUMN later TO shard"))
        await asyncio.wait_for(began.wait(), 60)
        await check.run()
    finally:
        await running
        await kit.close()


async def test_an_empty_database_lacks_every_column(database: Any) -> None:
    assert metadata.tables
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER SCHEMA public RENAME TO filled"))
        await connection.execute(text("CREATE SCHEMA public"))
        await connection.execute(text("GRANT USAGE ON SCHEMA public TO PUBLIC"))
    kit: Kit[Any] = Kit(settings(db_host=database.host, db_name=database.name, db_user="postgres"))
    columns = sum(len(table.columns) for table in metadata.tables.values())
    try:
        with pytest.raises(Unavailable, match=r"and (\d+) more is not there") as refused:
            await schema_check(kit).run()
        assert int(refused.value.message.split(" and ")[1].split()[0]) > columns - 4
        async with database.engine.begin() as connection:
            await connection.execute(text("DROP SCHEMA public"))
            await connection.execute(text("ALTER SCHEMA filled RENAME TO public"))
        await migrate(database.engine)
        await schema_check(kit).run()
    finally:
        await kit.close()
