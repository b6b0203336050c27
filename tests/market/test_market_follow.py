"""The service against a real simulated exchange: history, one batch per bar, watermarks, backfills."""

import uuid
from datetime import UTC, datetime, timedelta

from tests.market.conftest import running
from tests.market.watching import candles_of, stamp, until_watermark
from trading.market.v1 import market_service_pb2 as pb

START = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")


async def test_history_first_then_each_bar_as_one_batch(database, simulator):
    exchange = simulator(start=START.isoformat(), history_days="30")
    async with running(database, **exchange.env) as market:
        call = market.stub.WatchCandles(pb.WatchCandlesRequest(after_sequence=0))
        history = candles_of(await until_watermark(call, START))
        assert len(history) == 400 * len(PRODUCTS)
        assert [candle.sequence for candle in history] == list(range(1, len(history) + 1))
        assert max(candle.start_time.ToDatetime(UTC) for candle in history) == START - HOUR
        for step in (1, 2, 3):
            await exchange.advance(START + step * HOUR)
            frames = await until_watermark(call, START + step * HOUR)
            batches = [frame.batch for frame in frames if frame.WhichOneof("frame") == "batch"]
            assert len(batches) == 1
            assert [candle.product_id for candle in batches[0].candles] == list(PRODUCTS)
            assert {candle.start_time.ToDatetime(UTC) for candle in batches[0].candles} == {START + (step - 1) * HOUR}
            assert frames[-1].watermark.sequence == batches[0].candles[-1].sequence
        call.cancel()


async def test_a_driver_backfills_bar_by_bar_when_following_is_off(database, simulator):
    exchange = simulator(start=START.isoformat(), history_days="30")
    async with running(database, market_follow=False, **exchange.env) as market:
        call = market.stub.WatchCandles(pb.WatchCandlesRequest(after_sequence=0))
        for step in range(4):
            await exchange.advance(START + step * HOUR)
            request = pb.BackfillCandlesRequest(
                request_id=str(uuid.uuid4()), start_time=stamp(START + (step - 1) * HOUR)
            )
            frames = [frame async for frame in market.stub.BackfillCandles(request)]
            assert (frames[-1].done, frames[-1].stored, frames[-1].bars_done) == (True, 3, 3)
            assert candles_of(await until_watermark(call, START + step * HOUR))
        call.cancel()
