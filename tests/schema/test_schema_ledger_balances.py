"""The balances of the ledger are the sums of its entries, to the last digit, whatever statement wrote them."""

from decimal import Decimal

from sqlalchemy import text

from tests.support.stored import unlock_rows

ADD = """
    INSERT INTO ledger_entries (transaction_id, account, currency, amount, as_of)
    SELECT 't' || n, (ARRAY['exchange', 'trading', 'fees'])[1 + n % 3], (ARRAY['USD', 'BTC'])[1 + n % 2],
      n * 0.000000000000000001 - 3, timestamptz '2025-01-01Z'
    FROM generate_series({first}, {last}) n
"""


async def balances(database) -> dict[tuple[str, str], Decimal]:
    """As they are kept; they are also what summing up gives, and what the risk engine sees."""
    async with database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT account, currency, amount FROM ledger_balances"))
        kept = {(account, currency): amount for account, currency, amount in rows}
        query = text("SELECT account, currency, sum(amount) FROM ledger_entries GROUP BY account, currency")
        summed = {(account, currency): amount for account, currency, amount in await connection.execute(query)}
        seen = dict((await connection.execute(text("SELECT currency, amount FROM risk_cash"))).all())
    assert {key: amount for key, amount in kept.items() if key in summed or amount} == summed
    assert seen == {currency: amount for (account, currency), amount in kept.items() if account == "exchange"}
    return summed


async def test_every_way_to_write_entries_keeps_the_balances(database):
    async def run(statement: str) -> None:
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))

    assert await balances(database) == {}
    await run(ADD.format(first=1, last=60))
    first = await balances(database)
    assert len(first) == 6
    await run(ADD.format(first=61, last=90))
    assert await balances(database) != first
    await unlock_rows(database.engine, "ledger_entries")
    await run(
        "UPDATE ledger_entries SET amount = amount + 1, account = CASE WHEN entry_id % 7 = 0 THEN 'fees' ELSE account END"
    )
    await balances(database)
    await run("DELETE FROM ledger_entries WHERE entry_id % 5 = 0")
    changed = await balances(database)
    async with database.engine.connect() as connection:
        await connection.execute(text(ADD.format(first=100, last=130)))
        await connection.rollback()
    assert await balances(database) == changed
    await run("TRUNCATE ledger_entries")
    assert await balances(database) == {}
