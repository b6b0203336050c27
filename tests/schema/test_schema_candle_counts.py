"""The counts of candles are those of the rows, whatever statement wrote them."""

import asyncio

from sqlalchemy import text

from schema.streams import CANDLES, take_sequences

ADD = """
    INSERT INTO crypto_prices (product_id, granularity, start, open, high, low, close, volume, source, sequence)
    SELECT 'BTC-USD', 60, timestamptz '2025-01-01Z' + n * interval '1 minute', 1, 1, 1, 1, 0, '{source}', n
    FROM generate_series({first}, {last}) n ON CONFLICT DO NOTHING
"""


async def counts(database) -> dict[str, int]:
    """As they are kept; they are also what counting gives."""
    async with database.engine.connect() as connection:
        kept = dict((await connection.execute(text("SELECT source, candles FROM candle_counts"))).all())
        query = text("SELECT source, count(*) FROM crypto_prices GROUP BY source")
        assert kept == dict((await connection.execute(query)).all())
    return kept


async def test_every_way_to_write_candles_keeps_the_counts(database):
    async def run(statement: str) -> None:
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))

    assert await counts(database) == {}
    await run(ADD.format(source="file:a", first=1, last=10))
    # What is stored already is not added again.
    await run(ADD.format(source="file:b", first=8, last=12))
    assert await counts(database) == {"file:a": 10, "file:b": 2}
    await run(ADD.format(source="file:b", first=8, last=12))
    await run("UPDATE crypto_prices SET close = 1, source = CASE WHEN sequence < 4 THEN 'file:c' ELSE source END")
    assert await counts(database) == {"file:a": 7, "file:b": 2, "file:c": 3}
    await run("DELETE FROM crypto_prices WHERE sequence IN (1, 11, 12)")
    assert await counts(database) == {"file:a": 7, "file:c": 2}
    async with database.engine.connect() as connection:
        await connection.execute(text(ADD.format(source="file:d", first=20, last=30)))
        await connection.rollback()
    assert await counts(database) == {"file:a": 7, "file:c": 2}
    await run("TRUNCATE crypto_prices")
    assert await counts(database) == {}


async def test_writers_at_the_same_time_are_all_counted(database):
    async def write(number: int) -> None:
        async with database.engine.begin() as connection:
            await take_sequences(connection, CANDLES, 0)
            for source in sorted(("file:a", "file:b"), reverse=number % 2 == 1):
                first = number * 100 + (50 if source == "file:b" else 0)
                await connection.execute(text(ADD.format(source=source, first=first, last=first + 9)))

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(write(number))
    assert await counts(database) == {"file:a": 80, "file:b": 80}
