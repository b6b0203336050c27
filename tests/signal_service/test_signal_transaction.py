"""Transactions on the connection that the signal service keeps."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from sqlalchemy import text

from meshkit.kit import Kit
from svc_signal.bars import store as bar_store
from tests.meshkit.toys import settings


async def test_a_connection_cut_at_the_begin_of_a_transaction_is_lent_to_nobody(database: Any) -> None:
    kit: Kit[Any] = Kit(settings(db_host=database.host, db_name=database.name, db_user="postgres", db_pool_size=1))
    chance = random.Random(3)

    async def work() -> None:
        async with kit.autocommit.connect() as connection, bar_store.transaction(connection):
            await connection.execute(text("SELECT pg_sleep(0.001)"))

    for _ in range(150):
        task = asyncio.create_task(work())
        await asyncio.sleep(chance.random() * 0.006)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None
    await work()
    await kit.close()
