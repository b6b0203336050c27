"""The bridge on a real port and database, beside a signal service that keeps the contract and its signals in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import grpc
from sqlalchemy import insert, select, text
from waiting import eventually

from meshkit import lifecycle
from schema.execution import positions
from schema.market import crypto_prices, products
from schema.recommendations import bridge_cursors, recommendation_events, signal_outcomes, trade_recommendations
from schema.streams import advance_watermark
from svc_bridge.service import build
from svc_bridge.settings import BridgeSettings
from tradekit import ids, wire
from trading.bridge.v1 import bridge_service_pb2_grpc as rpc
from trading.signal.v1 import signal_service_pb2 as signal_pb
from trading.signal.v1 import signal_service_pb2_grpc as signal_rpc

D = Decimal
HOUR = timedelta(hours=1)
AS_OF = datetime(2025, 6, 15, 15, tzinfo=UTC)


def signal(
    sequence: int, side: str = "BUY", product: str = "ETH-USD", as_of: datetime = AS_OF, **changes: Any
) -> signal_pb.Signal:
    """A signal as the signal service sends it; its features travel with BUY and SELL."""
    given: dict[str, Any] = {
        "signal_id": str(ids.signal_id("main", product, 3600, as_of - HOUR, "m1")),
        "product_id": product,
        "granularity": 3600,
        "bar_start_time": wire.timestamp_message(as_of - HOUR),
        "as_of": wire.timestamp_message(as_of),
        "side": signal_pb.SignalSide.Value(f"SIGNAL_SIDE_{side}"),
        "confidence": 0.7,
        "p_down": 0.1,
        "p_neutral": 0.2,
        "p_up": 0.7,
        "edge": 0.6,
        "expected_net": 0.01,
        "sigma_horizon": 0.02,
        "reference_price": wire.decimal_message(D("2500.5")),
        "model_version": "m1",
        "feature_set_hash": "f" * 64,
        "profile": 2,
        "features": [float(n) for n in range(51 if side != "HOLD" else 0)],
        "sequence": sequence,
    }
    return signal_pb.Signal(**{**given, **changes})


class StandInSignals(signal_rpc.SignalServiceServicer):
    """WatchSignals as the contract says: rows after a sequence in order, the watermark behind them, then new ones."""

    def __init__(self) -> None:
        self.signals: list[signal_pb.Signal] = []
        self.watermark: datetime | None = None
        self.news = asyncio.Condition()
        self.asked: list[int] = []
        self.batch = 100
        # The stream breaks after each of these numbers of batches, once each.
        self.breaks: list[int] = []

    async def publish(self, *signals: signal_pb.Signal, watermark: datetime | None = None) -> None:
        async with self.news:
            self.signals.extend(signals)
            self.watermark = watermark or self.watermark
            self.news.notify_all()

    async def WatchSignals(self, request: Any, context: Any) -> AsyncIterator[signal_pb.WatchSignalsResponse]:
        assert request.HasField("after_sequence")
        self.asked.append(request.after_sequence)
        position, told = request.after_sequence, None
        left = self.breaks.pop(0) if self.breaks else None
        while True:
            watermark = self.watermark
            fresh = [one for one in self.signals if one.sequence > position][: self.batch]
            if fresh:
                if left == 0:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is lost")
                left = None if left is None else left - 1
                position = fresh[-1].sequence
                yield signal_pb.WatchSignalsResponse(batch=signal_pb.SignalBatch(signals=fresh))
                continue
            if watermark is not None and watermark != told:
                told = watermark
                yield signal_pb.WatchSignalsResponse(watermark=wire.watermark_message(watermark, position))
            async with self.news:
                try:
                    await asyncio.wait_for(self.news.wait(), 1.0)
                except TimeoutError:
                    yield signal_pb.WatchSignalsResponse(heartbeat=wire.heartbeat_message(AS_OF, position))


@contextlib.asynccontextmanager
async def signal_server(stand_in: StandInSignals, port: int = 0) -> AsyncIterator[int]:
    server = grpc.aio.server()
    signal_rpc.add_SignalServiceServicer_to_server(stand_in, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


@dataclass
class World:
    """The state, and what is asked of it."""

    database: Any
    signals: StandInSignals
    signal_port: int
    candles: int = field(default=0)

    async def run(self, statement: Any, given: Any = None) -> Any:
        async with self.database.engine.begin() as connection:
            result = await connection.execute(statement, given)
            return list(result.mappings()) if result.returns_rows else None

    async def list_product(self, product: str = "ETH-USD", increment: str = "0.0001") -> None:
        await self.run(
            insert(products).values(
                product_id=product,
                base_increment=D(increment),
                quote_increment=D("0.01"),
                price_increment=D("0.01"),
                base_min_size=D("0.0001"),
                quote_min_size=D(1),
                tradable=True,
                status="online",
                followed=True,
                observed_at=AS_OF,
            )
        )

    async def hold(self, product: str, size: str, cost: str = "100") -> None:
        await self.run(
            insert(positions).values(product_id=product, base_size=D(size), cost=D(cost), realized_pnl=0, total_fees=0)
        )

    async def candle(self, product: str, close: str, start: datetime = AS_OF - HOUR) -> None:
        self.candles += 1
        price = D(close)
        await self.run(
            insert(crypto_prices).values(
                product_id=product,
                granularity=3600,
                start=start,
                open=price,
                high=price,
                low=price,
                close=price,
                volume=1,
                source="test",
                sequence=self.candles,
            )
        )

    async def watermark(self, stage: str, as_of: datetime) -> None:
        async with self.database.engine.begin() as connection:
            await advance_watermark(connection, stage, as_of, 0)

    async def outcomes(self) -> dict[UUID, Any]:
        return {row["signal_id"]: row for row in await self.run(select(signal_outcomes))}

    async def recommendations(self) -> list[Any]:
        return await self.run(select(trade_recommendations).order_by(trade_recommendations.c.sequence))

    async def events(self) -> list[Any]:
        return await self.run(select(recommendation_events).order_by(recommendation_events.c.sequence))

    async def cursor(self) -> int:
        rows = await self.run(select(bridge_cursors.c.sequence))
        return rows[0]["sequence"] if rows else 0

    async def until_cursor(self, sequence: int) -> None:
        """Waits until the bridge has dealt with a sequence."""

        async def passed() -> bool:
            return await self.cursor() >= sequence

        await eventually(passed)

    async def until(self, query: str) -> None:
        """Waits until a query gives true."""

        async def true() -> bool:
            return bool((await self.run(text(query)))[0]["ok"])

        await eventually(true)

    @contextlib.asynccontextmanager
    async def bridge(self, **changes: Any) -> AsyncIterator[Any]:
        """A bridge on a free port; killed (no drain) at the end."""
        given = {
            "port": 0,
            **self.database.settings_of("bridge"),
            "db_pool_size": 3,
            "signal_address": f"127.0.0.1:{self.signal_port}",
            "decision_profile": "EXERCISE",
            "drain_seconds": 0.2,
            "drain_notice_seconds": 0.0,
        }
        service = await lifecycle.create(BridgeSettings(**{**given, **changes}), build)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(service.run(lambda _: started.set_result(None)))
        try:
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
                stub: Any = rpc.BridgeServiceStub(channel)
                stub.service = service
                yield stub
        finally:
            service.stop()
            service.stop()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60)
