"""A market service that follows a fake exchange, and waits for what it stores."""

import asyncio
from datetime import datetime

from tests.market.conftest import FakeExchange, running
from tests.market.market_calls import mark_of, table


def follow(database, exchange: FakeExchange, **changes):
    given = {"products": "ETH-USD", "market_history_bars": 20, **changes}
    return running(database, exchange.builder(), **given)


async def until_mark(database, as_of: datetime) -> None:
    async with asyncio.timeout(60):
        while await mark_of(database) != as_of:
            await asyncio.sleep(0.02)


async def until_stored(database, rows: int) -> None:
    async with asyncio.timeout(60):
        while len(await table(database, "crypto_prices")) < rows:
            await asyncio.sleep(0.02)
