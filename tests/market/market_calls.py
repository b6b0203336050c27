"""What the tests of the market service ask and look at: imports, lists, backfills, rows, refusals."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.market.conftest import FakeExchange, running
from tests.market.watching import stamp
from trading.common.v1 import decimal_pb2
from trading.market.v1 import market_service_pb2 as pb

HOUR = timedelta(hours=1)
NOW = datetime(2025, 11, 1, tzinfo=UTC)
VALUES = ("open", "high", "low", "close", "volume")


def exchange(now: datetime = NOW, *products: str) -> FakeExchange:
    return FakeExchange(now, products or ("BTC-USD", "ETH-USD", "SOL-USD"))


def quiet(fake: FakeExchange, database: Any, **changes: Any) -> Any:
    """A service that stores only what the test chooses."""
    return running(database, fake.builder(), market_follow=False, **changes)


async def send_file(market: Any, path: Path, chunk: int = 60_000, **opening: Any) -> pb.ImportCandlesResponse:
    content = await asyncio.to_thread(path.read_bytes)
    chunks = [content[begin : begin + chunk] for begin in range(0, len(content), chunk)]
    frames = (pb.ImportCandlesRequest(file_chunk=one) for one in chunks)
    return await send(market, opened(file_name=path.name, **opening), *frames)


async def send(market: Any, *frames: pb.ImportCandlesRequest) -> pb.ImportCandlesResponse:
    async def sent() -> Any:
        for frame in frames:
            yield frame

    return await market.stub.ImportCandles(sent())


def opened(**changes: Any) -> pb.ImportCandlesRequest:
    given = {"request_id": str(uuid.uuid4()), "file_name": "by-hand", **changes}
    return pb.ImportCandlesRequest(open=pb.ImportOpen(**given))


def candle(start: datetime = NOW - 2 * HOUR, product_id: str = "BTC-USD", **values: str) -> pb.Candle:
    given = {"open": "100", "high": "110", "low": "90", "close": "105", "volume": "7", **values}
    decimals = {name: decimal_pb2.Decimal(value=value) for name, value in given.items()}
    return pb.Candle(product_id=product_id, granularity=3600, start_time=stamp(start), **decimals)


def batch(*candles: pb.Candle) -> pb.ImportCandlesRequest:
    return pb.ImportCandlesRequest(candles=pb.CandleBatch(candles=candles))


async def listed(market: Any, product_id: str, **query: Any) -> list[pb.Candle]:
    found: list[pb.Candle] = []
    token = ""
    while True:
        request = pb.ListCandlesRequest(product_id=product_id, granularity=3600, page_token=token, **query)
        page = await market.stub.ListCandles(request)
        found += page.candles
        token = page.next_page_token
        if not token:
            return found


async def table(database: Any, name: str) -> list[Any]:
    async with database.engine.connect() as connection:
        return list(await connection.execute(text(f"SELECT * FROM {name}")))


def counts(answer: pb.ImportCandlesResponse) -> tuple[int, int, int, int, int]:
    return (answer.received, answer.stored, answer.unchanged, answer.skipped, answer.refused)


async def until_products(market: Any) -> list[pb.Product]:
    async with asyncio.timeout(60):
        while True:
            found: list[pb.Product] = []
            token = "first"
            while token:
                request = pb.ListProductsRequest(page_size=2, page_token="" if token == "first" else token)
                page = await market.stub.ListProducts(request)
                found, token = [*found, *page.products], page.next_page_token
            if found:
                return found
            await asyncio.sleep(0.02)


async def backfill(market: Any, start: datetime, **query: Any) -> pb.BackfillCandlesResponse:
    request = pb.BackfillCandlesRequest(request_id=str(uuid.uuid4()), start_time=stamp(start), **query)
    frames = [frame async for frame in market.stub.BackfillCandles(request)]
    assert [frame.done for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert sorted(frame.bars_done for frame in frames) == [frame.bars_done for frame in frames]
    return frames[-1]


async def mark_of(database: Any) -> datetime | None:
    rows = await table(database, "watermarks")
    return rows[0].as_of if rows else None
