"""Follows stored candles and the market's watermark for one watcher.

A watermark is sent once every wanted candle up to its sequence was sent; one that moves with no candle is sent as well,
because a bar in which nothing was traded is complete too.
"""

from collections.abc import AsyncIterator, Sequence

from meshkit.kit import Kit
from meshkit.watch import Drain, Idle, Mark, Rows, follow
from schema.streams import CANDLES, Watermark, read_watermark
from svc_market import store, wire
from svc_market.feed import STAGE
from svc_market.settings import MarketSettings
from svc_market.store import StoredCandle
from svc_market.wire import WatchQuery
from trading.market.v1 import market_service_pb2 as pb

HEARTBEAT_SECONDS = 5.0
BATCH = 500


async def watch(kit: Kit[MarketSettings], query: WatchQuery, position: int) -> AsyncIterator[pb.WatchCandlesResponse]:
    """Frames for one watcher that has everything up to `position`."""

    async def fetch(after: int, limit: int) -> Sequence[StoredCandle]:
        if not query.candles:
            return ()
        async with kit.engine.connect() as connection:
            return await store.candles_after(connection, after, query.granularity, query.product_ids, limit)

    async def mark() -> Watermark | None:
        """The watermark speaks of the service's own granularity only."""
        if query.granularity != kit.settings.granularity_seconds:
            return None
        async with kit.engine.connect() as connection:
            return await read_watermark(connection, STAGE)

    # The watermark moves with a wake-up of the candles' channel, also when no candle came.
    async with kit.notifications.subscribe(CANDLES) as wakeup:
        events: AsyncIterator[Rows[StoredCandle] | Mark[Watermark] | Idle | Drain] = follow(
            fetch, _sequence, wakeup, position, HEARTBEAT_SECONDS, kit.draining, BATCH, mark
        )
        async for event in events:
            match event:
                case Rows(rows=rows):
                    yield wire.batch_frame(rows)
                case Mark(sign=sign):
                    yield wire.watermark_frame(sign.as_of, sign.sequence)
                case Idle(sequence=sequence):
                    yield wire.heartbeat_frame(kit.clock.now(), sequence)
                case Drain():
                    yield wire.draining_frame()


def _sequence(row: StoredCandle) -> int:
    return row.sequence
