"""The signal service on a real port and database, beside a market service that keeps the contract's watch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
from sqlalchemy import insert, select
from waiting import eventually

from meshkit import lifecycle
from modelkit.candles import CandleArrays
from schema import streams
from schema.market import crypto_prices
from schema.signals import trading_signals
from svc_signal.service import build
from svc_signal.settings import SignalSettings
from tests.signal.signal_series import FIRST_BAR, synthetic
from tradekit import wire
from tradekit.bars import utc
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_rpc
from trading.signal.v1 import signal_service_pb2_grpc as rpc

HOUR = timedelta(hours=1)
BARS = 560
TRAIN_BARS = 3200
SERIES = synthetic(3, TRAIN_BARS)
PRODUCTS = tuple(SERIES)
LIMIT = 30.0


def close_of(bar: int) -> datetime:
    """as_of of the bar with this number in the series."""
    return utc((FIRST_BAR + bar + 1) * 3600)


class StandInMarket(market_rpc.MarketServiceServicer):
    """WatchCandles from now on: the watermark at once and at every move, heartbeats between."""

    def __init__(self) -> None:
        self.watermark: datetime | None = None
        self.news = asyncio.Condition()
        self.drop = asyncio.Event()
        self.opened = 0

    async def WatchCandles(self, request: Any, context: Any) -> AsyncIterator[market_pb.WatchCandlesResponse]:
        self.opened += 1
        assert request.watermarks_only, "candles are read from the table"
        told = None
        while True:
            if self.drop.is_set():
                self.drop.clear()
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is lost")
            if self.watermark is not None and self.watermark != told:
                told = self.watermark
                yield market_pb.WatchCandlesResponse(watermark=wire.watermark_message(told, 0))
            async with self.news:
                try:
                    await asyncio.wait_for(self.news.wait(), 0.5)
                except TimeoutError:
                    yield market_pb.WatchCandlesResponse(heartbeat=wire.heartbeat_message(close_of(0), 0))


@dataclass
class World:
    """The candles stored, and the market's word on which bars are complete."""

    database: Any
    market: StandInMarket
    market_port: int
    sequence: int = field(default=0)

    async def run(self, statement: Any, given: Any = None) -> Any:
        async with self.database.engine.begin() as connection:
            result = await connection.execute(statement, given)
            return list(result.mappings()) if result.returns_rows else None

    async def store(self, first: int, last: int, products: tuple[str, ...] = PRODUCTS) -> None:
        """Candles of the bars first to last of the series."""
        rows = []
        for bar in range(first, last + 1):
            for product in products:
                self.sequence += 1
                rows.append(_candle(product, SERIES[product], bar, self.sequence))
        await self.run(insert(crypto_prices), rows)

    async def complete(self, bar: int) -> None:
        """The market says that a bar is complete, in the table and on the stream."""
        async with self.database.engine.begin() as connection:
            await streams.advance_watermark(connection, "market", close_of(bar), self.sequence)
        async with self.market.news:
            self.market.watermark = close_of(bar)
            self.market.news.notify_all()

    async def signals(self) -> list[Any]:
        return await self.run(select(trading_signals).order_by(trading_signals.c.sequence))

    async def until_decided(self, bar: int) -> list[Any]:
        async def passed() -> bool:
            async with self.database.engine.connect() as connection:
                watermark = await streams.read_watermark(connection, "signal")
            return watermark is not None and watermark.as_of >= close_of(bar)

        await eventually(passed)
        return await self.signals()

    @contextlib.asynccontextmanager
    async def service(self, **changes: Any) -> AsyncIterator[Any]:
        """A signal service on a free port."""
        given = {
            "port": 0,
            **self.database.settings_of("signal"),
            "db_pool_size": 3,
            "products": ",".join(PRODUCTS),
            "market_address": f"127.0.0.1:{self.market_port}",
            "decision_profile": "EXERCISE",
            "drain_seconds": 0.2,
            "drain_notice_seconds": 0.0,
            "model_poll_seconds": 1.0,
        }
        service = await lifecycle.create(SignalSettings(**{**given, **changes}), build)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(service.run(lambda _: started.set_result(None)))
        try:
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
                stub: Any = rpc.SignalServiceStub(channel)
                stub.service, stub.channel = service, channel
                yield stub
        finally:
            service.stop()
            service.stop()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60)


def _candle(product: str, series: CandleArrays, bar: int, sequence: int) -> dict[str, Any]:
    prices = {
        name: round(Decimal(repr(float(getattr(series, name)[bar]))), 10)
        for name in ("open", "high", "low", "close", "volume")
    }
    return {
        "product_id": product,
        "granularity": 3600,
        "start": utc(int(series.start[bar])),
        "source": "test",
        "sequence": sequence,
        **prices,
    }
