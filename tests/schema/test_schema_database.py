"""The migrations make exactly the tables that the code describes; sequences are gapless in commit order."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from schema.migrate import migrate
from schema.streams import SIGNALS, advance_watermark, read_watermark, take_sequences
from schema.tables import metadata
from tradekit.bars import utc


async def test_migrations_and_tables_agree(database):
    async with database.engine.connect() as connection:
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    assert difference == []


async def test_migrating_again_changes_nothing(database):
    await migrate(database.engine)
    async with database.engine.connect() as connection:
        assert await read_watermark(connection, "signal") is None


async def test_a_rolled_back_transaction_leaves_no_gap(database):
    async with database.engine.connect() as connection:
        assert list(await take_sequences(connection, SIGNALS, 3)) == [1, 2, 3]
        await connection.rollback()
    async with database.engine.begin() as connection:
        assert list(await take_sequences(connection, SIGNALS, 2)) == [1, 2]


async def test_sequences_come_in_the_order_of_commits(database):
    order: list[int] = []

    async def writer(hold: float) -> None:
        async with database.engine.begin() as connection:
            taken = await take_sequences(connection, SIGNALS, 1)
            await asyncio.sleep(hold)
            order.append(taken[0])

    async with asyncio.TaskGroup() as group:
        for hold in (0.05, 0.01, 0.0, 0.02):
            group.create_task(writer(hold))
    assert order == [1, 2, 3, 4]


async def test_a_watermark_never_moves_back(database):
    async with database.engine.begin() as connection:
        await advance_watermark(connection, "signal", utc(7200), 9)
        await advance_watermark(connection, "signal", utc(3600), 4)
        mark = await read_watermark(connection, "signal")
    assert mark is not None
    assert (mark.as_of, mark.sequence) == (utc(7200), 9)


async def test_a_candle_that_is_not_a_number_or_at_no_time_is_refused_by_the_table(database):
    """NaN is greater than every number to PostgreSQL, so a plain check of sizes lets it through."""
    row = "INSERT INTO crypto_prices VALUES ('BTC-USD', 3600, {start}, {price}, {price}, {price}, {price}, {volume}, 'x', 1)"
    good = {"start": "'2025-01-01Z'", "price": "1", "volume": "0"}
    for wrong in ({"price": "'NaN'"}, {"volume": "'NaN'"}, {"start": "'infinity'"}, {"start": "'9999-01-01Z'"}):
        with pytest.raises(IntegrityError):
            async with database.engine.begin() as connection:
                await connection.execute(text(row.format(**(good | wrong))))
    async with database.engine.begin() as connection:
        await connection.execute(text(row.format(**good)))


async def test_a_bar_of_a_product_has_one_signal_whatever_model_spoke(database):
    """Ids hold the model's version; what keeps two versions from deciding one bar is its own key."""
    row = (
        "INSERT INTO trading_signals VALUES (gen_random_uuid(), '{run}', '{product}', 3600, '2025-01-01T00:00Z', "
        "'2025-01-01T01:00Z', 'HOLD', 0, 0, 1, 0, 0, 0, 0, 1, '{version}', 'h', 'EVIDENCE', '[]', '{{}}', {sequence})"
    )
    first = {"run": "main", "product": "BTC-USD", "version": "v1", "sequence": 1}
    async with database.engine.begin() as connection:
        await connection.execute(text(row.format(**first)))
        for number, other in enumerate(({"run": "again"}, {"product": "ETH-USD"}), 2):
            await connection.execute(text(row.format(**(first | other | {"sequence": number}))))
    with pytest.raises(IntegrityError, match="uq_trading_signals_bar"):
        async with database.engine.begin() as connection:
            await connection.execute(text(row.format(**(first | {"version": "v2", "sequence": 9}))))
