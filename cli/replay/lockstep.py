"""Lock-step: advance the market to a bar, wait until every stage has passed it and nothing is open, next bar.

The driver only moves the clock, asks for the bar's candles, and has the executor look at its positions where the live one looks
by itself; what happens then is the live code. A service that dies meanwhile is started again by the supervisor, and the bar
goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from cli.calls import operator_channel
from cli.plan import MeshPlan
from cli.replay.clock import SimulatorClock
from tradekit import ids, services
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc

STALL_SECONDS = 60.0
_CHANNELS = ("watermarks", "equity_snapshots", "recommendations", "orders")
# A lost word costs this much; each of the four that end a wait is told at its commit.
_LOOK_SECONDS = 0.5
# A bar is done when every stage's watermark has passed it, the risk engine has marked the ledger at it, and nothing that
# could still move is open: neither recommendations that wait for market time nor orders that rest move before the next bar.
_PROGRESS = """
SELECT
  (SELECT min(as_of) FROM watermarks WHERE stage IN ('market', 'signal', 'bridge')) AS passed,
  (SELECT count(*) FROM watermarks WHERE stage IN ('market', 'signal', 'bridge')) AS stages,
  (SELECT count(*) FROM trade_recommendations WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
     AND (wait_for_market IS NULL OR wait_for_market <= $1)) AS open_items,
  (SELECT count(*) FROM orders WHERE state IN ('PENDING', 'UNKNOWN', 'OPEN')
     AND NOT (state = 'OPEN' AND order_type <> 'MARKET')) AS open_orders,
  (SELECT coalesce(max(sequence), 0) FROM orders) AS orders_sequence,
  EXISTS (SELECT 1 FROM equity_snapshots WHERE as_of >= $1) AS marked
"""
_STUCK = """
SELECT recommendation_id, product_id, side, state, as_of, delays, lease_owner
FROM trade_recommendations WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
  AND (wait_for_market IS NULL OR wait_for_market <= $1) ORDER BY as_of LIMIT 3
"""


class ReplayStalled(Exception):
    """A bar made no end within the limit; the text names what it waits for."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The bars of a replay: decisions at `begin`, `begin` + granularity, …, `end`."""

    begin: datetime
    end: datetime
    granularity: int

    @property
    def count(self) -> int:
        """Number of decision times."""
        return int((self.end - self.begin).total_seconds()) // self.granularity + 1

    def at(self, index: int) -> datetime:
        """The decision time of a step."""
        return self.begin + timedelta(seconds=index * self.granularity)


@dataclass(frozen=True, slots=True)
class _Look:
    """The executor's look at its positions: whether orders rest, and whether it watches prices or times by itself."""

    resting: bool = False
    watches: bool = False
    sequence: int = 0


OnBar = Callable[[int, datetime], Awaitable[None]]


class LockStep:
    """Leads a replay bar by bar."""

    def __init__(self, plan: MeshPlan, clock: SimulatorClock) -> None:
        self._plan = plan
        self._clock = clock
        self._news = asyncio.Event()
        self._database: Any = None
        address = plan.ports.address(services.MARKET)
        self._channel = operator_channel(plan.home, address, ("grpc.max_reconnect_backoff_ms", 500))
        self._market = market_grpc.MarketServiceStub(self._channel)
        address = plan.ports.address(services.EXECUTOR)
        self._executor_channel = operator_channel(plan.home, address, ("grpc.max_reconnect_backoff_ms", 500))
        self._executor = executor_grpc.ExecutorServiceStub(self._executor_channel)
        # What the executor said at its newest look, and the newest change of an order that it had seen then.
        self._looked = _Look()

    async def run(self, steps: Steps, on_bar: OnBar) -> None:
        """All bars. `on_bar` is called before each with its number. Raises ReplayStalled."""
        await self._connect()
        for index in range(steps.count):
            as_of = steps.at(index)
            await on_bar(index, as_of)
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._step(as_of, steps.granularity)
            except TimeoutError:
                raise ReplayStalled(await self._why_stalled(as_of)) from None

    async def fetch_history(self, start: datetime, end: datetime, on_progress: Callable[[float], None]) -> None:
        """Has the market service fetch candles that open in [start, end) from the exchange."""
        async for frame in self._market.BackfillCandles(
            _backfill(self._plan.simulator_products, start, end), timeout=600
        ):
            on_progress(frame.bars_done / frame.bars_total if frame.bars_total else 1.0)

    async def close(self) -> None:
        """Closes what was opened."""
        await self._clock.close()
        await self._channel.close()
        await self._executor_channel.close()
        if self._database is not None:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await self._database.close(timeout=2)

    async def _step(self, as_of: datetime, granularity: int) -> None:
        """One bar, tried until it is done: a service may be on its way back."""
        start = as_of - timedelta(seconds=granularity)
        while True:
            try:
                await self._clock.advance(as_of)
                if self._looked.resting:
                    # What was bought or sold on the way is known before anything is decided on this bar.
                    self._looked = await self._look()
                request = _backfill(self._plan.simulator_products, start, as_of)
                async for _ in self._market.BackfillCandles(request, timeout=10):
                    pass
                break
            except (ConnectionError, grpc.aio.AioRpcError):
                await asyncio.sleep(0.1)
        sequence = await self._until_done(as_of)
        if self._looked.watches or sequence != self._looked.sequence:
            await self._protect(as_of)

    async def _protect(self, as_of: datetime) -> None:
        """Positions at the end of a bar: what was bought is protected, what is past its stop or time is sold."""
        while True:
            try:
                looked = await self._look()
                self._looked = replace(looked, sequence=await self._until_done(as_of))
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.1)

    async def _look(self) -> _Look:
        request = executor_pb.ProtectPositionsRequest(request_id=str(ids.new_request_id()))
        answer = await self._executor.ProtectPositions(request, timeout=20)
        resting = bool(answer.resting_entries) or any(position.orders for position in answer.positions)
        return _Look(resting=resting, watches=answer.watches and bool(answer.positions), sequence=self._looked.sequence)

    async def _until_done(self, as_of: datetime) -> int:
        """Waits for the end of a bar; gives the newest change of an order."""
        while True:
            sequence = await self._done(as_of)
            if sequence is not None:
                return sequence
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._news.wait()

    async def _done(self, as_of: datetime) -> int | None:
        """None while the bar goes on."""
        self._news.clear()
        try:
            row = await self._database.fetchrow(_PROGRESS, as_of, timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await self._connect()
            return None
        passed = row["stages"] == 3 and row["passed"] >= as_of
        done = passed and row["marked"] and row["open_items"] == 0 and row["open_orders"] == 0
        return int(row["orders_sequence"]) if done else None

    async def _why_stalled(self, as_of: datetime) -> str:
        row = await self._database.fetchrow(_PROGRESS, as_of, timeout=5)
        stuck = await self._database.fetch(_STUCK, as_of, timeout=5)
        lines = [f"the bar that closed at {as_of} made no end within {STALL_SECONDS:g} s: {dict(row)}"]
        lines += [f"  waiting: {dict(item)}" for item in stuck]
        marks = await self._database.fetch("SELECT stage, as_of FROM watermarks ORDER BY stage", timeout=5)
        lines.append("  watermarks: " + ", ".join(f"{mark['stage']} {mark['as_of']}" for mark in marks))
        lines.append(f"  logs: {self._plan.home.logs}")
        return "\n".join(lines)

    async def _connect(self) -> None:
        """One connection that listens to everything that can end a wait."""
        while True:
            try:
                self._database = await asyncpg.connect(**self._plan.database_address.arguments("mesh"), timeout=5)
                for channel in _CHANNELS:
                    await self._database.add_listener(channel, self._on_news)
                return
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.2)

    def _on_news(self, *_: object) -> None:
        self._news.set()


def _backfill(products: tuple[str, ...], start: datetime, end: datetime) -> market_pb.BackfillCandlesRequest:
    first, last = Timestamp(), Timestamp()
    first.FromDatetime(start)
    last.FromDatetime(end)
    return market_pb.BackfillCandlesRequest(
        request_id=str(ids.new_request_id()), product_ids=products, start_time=first, end_time=last
    )
