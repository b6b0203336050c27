"""The poller against an exchange that is late, down, thin or grows a product."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from exchange_client import RawCandle
from tests.market.conftest import FakeExchange
from tests.market.following import follow, until_mark, until_stored
from tests.market.market_calls import batch, candle, counts, mark_of, opened, send, table
from tests.market.watching import candles_of, until_watermark
from trading.market.v1 import market_service_pb2 as pb

NOW = datetime(2025, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENTRIES = "trading.market.v1.MarketService/entries"


def fake() -> FakeExchange:
    exchange = FakeExchange(NOW, ["BTC-USD", "ETH-USD"])
    exchange.fill(NOW - 30 * HOUR, NOW + 30 * HOUR)
    return exchange


async def test_after_an_outage_the_bars_missed_are_fetched_and_entries_open_again(database):
    exchange = fake()
    exchange.down = True
    async with follow(database, exchange) as market:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{market.service.port}") as channel:
            call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=ENTRIES))
            assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            exchange.down = False
            await until_mark(database, NOW)
            async with asyncio.timeout(60):
                assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
            call.cancel()
        exchange.down = True
        exchange.now = NOW + 7 * HOUR
        await asyncio.sleep(0.2)
        assert await mark_of(database) == NOW
        exchange.down = False
        await until_mark(database, NOW + 7 * HOUR)
        assert len(await table(database, "crypto_prices")) == 2 * (20 + 7)


async def test_a_restart_goes_on_from_the_watermark(database):
    exchange = fake()
    async with follow(database, exchange):
        await until_mark(database, NOW)
    exchange.now = NOW + 25 * HOUR
    exchange.asked.clear()
    # The history wanted is shorter than the break: the promise of the watermark comes first.
    async with follow(database, exchange, market_history_bars=3):
        await until_mark(database, exchange.now)
    assert min(start for _, start, _ in exchange.asked) == NOW - HOUR
    assert len(await table(database, "crypto_prices")) == 2 * (20 + 25)


async def test_a_new_product_gets_its_history(database):
    exchange = fake()
    async with follow(database, exchange, products="BTC-USD"):
        await until_mark(database, NOW)
    exchange.now = NOW + HOUR
    async with follow(database, exchange, products="BTC-USD,ETH-USD"):
        await until_mark(database, NOW + HOUR)
        rows = await table(database, "crypto_prices")
    assert sum(row.product_id == "ETH-USD" for row in rows) == 20
    assert sum(row.product_id == "BTC-USD" for row in rows) == 21


async def test_a_candle_published_within_the_grace_is_in_its_bars_batch(database):
    exchange = fake()
    async with follow(database, exchange, market_grace_seconds=0.6) as market:
        call = market.stub.WatchCandles(pb.WatchCandlesRequest())
        await until_watermark(call, NOW)
        late = exchange.bars["ETH-USD"].pop(NOW)
        exchange.now = NOW + HOUR
        await asyncio.sleep(0.2)
        exchange.bars["ETH-USD"][NOW] = late
        frames = await until_watermark(call, NOW + HOUR)
        assert [one.product_id for one in candles_of(frames)] == ["BTC-USD", "ETH-USD"]
        call.cancel()


async def test_a_candle_published_too_late_comes_with_the_next_bar_and_a_changed_one_is_a_conflict(database):
    exchange = fake()
    async with follow(database, exchange):
        await until_mark(database, NOW)
        late = exchange.bars["ETH-USD"].pop(NOW)
        exchange.now = NOW + HOUR
        await until_mark(database, NOW + HOUR)
        exchange.bars["ETH-USD"][NOW] = late
        old = exchange.bars["BTC-USD"][NOW]
        exchange.bars["BTC-USD"][NOW] = type(old)(old.start, old.open, old.high, old.low, old.close, Decimal(9))
        exchange.now = NOW + 2 * HOUR
        await until_mark(database, NOW + 2 * HOUR)
        rows = {(row.product_id, row.start): row for row in await table(database, "crypto_prices")}
        assert rows["ETH-USD", NOW].close == late.close
        assert rows["BTC-USD", NOW].volume == old.volume
        assert [row.code for row in await table(database, "candle_refusals")] == ["CONFLICT"]


async def test_a_bad_candle_of_the_exchange_is_refused_and_the_bar_goes_on(database):
    exchange = fake()
    async with follow(database, exchange):
        await until_mark(database, NOW)
        good = exchange.bars["ETH-USD"][NOW]
        nan = Decimal("NaN")
        exchange.bars["ETH-USD"][NOW] = type(good)(NOW, nan, good.high, good.low, good.close, good.volume)
        exchange.now = NOW + HOUR
        await until_mark(database, NOW + HOUR)
        rows = [row.product_id for row in await table(database, "crypto_prices") if row.start == NOW]
        assert rows == ["BTC-USD"]
        assert [row.code for row in await table(database, "candle_refusals")] == ["NOT_FINITE"]


async def test_a_market_that_was_started_over_changes_nothing(database):
    exchange = fake()
    async with follow(database, exchange):
        await until_mark(database, NOW)
        before = len(await table(database, "crypto_prices"))
        exchange.now = NOW - 5 * HOUR
        await asyncio.sleep(0.3)
        assert await mark_of(database) == NOW
        assert len(await table(database, "crypto_prices")) == before


async def test_more_history_wanted_later_is_fetched_backwards_and_once(database):
    """From 20 to 700 bars: two more pages of each product, no bar twice, and the watermark does not know of it."""
    exchange = FakeExchange(NOW, ["BTC-USD", "ETH-USD"])
    exchange.fill(NOW - 1000 * HOUR, NOW + 30 * HOUR)
    async with follow(database, exchange):
        await until_mark(database, NOW)
    exchange.asked.clear()
    exchange.now = NOW + HOUR
    async with follow(database, exchange, market_history_bars=700):
        await until_mark(database, NOW + HOUR)
        await until_stored(database, 2 * 700)
        exchange.now = NOW + 2 * HOUR
        await until_mark(database, NOW + 2 * HOUR)
    rows = await table(database, "crypto_prices")
    bitcoin = sorted(row.start for row in rows if row.product_id == "BTC-USD")
    assert bitcoin == [NOW + n * HOUR for n in range(1 - 700, 2)]
    older = [(start, end) for product, start, end in exchange.asked if product == "BTC-USD" and end < NOW]
    edges = [NOW - hours * HOUR for hours in (699, 620, 320, 20)]
    assert older == [(edges[2], edges[3]), (edges[1], edges[2]), (edges[0], edges[1])]
    exchange.asked.clear()
    async with follow(database, exchange, market_history_bars=700):
        exchange.now = NOW + 3 * HOUR
        await until_mark(database, NOW + 3 * HOUR)
    assert all(start >= NOW for _, start, _ in exchange.asked)


async def test_history_that_the_exchange_does_not_have_is_asked_for_once_a_start(database):
    exchange = fake()  # it begins 30 hours before NOW
    async with follow(database, exchange):
        await until_mark(database, NOW)
    async with follow(database, exchange, market_history_bars=400):
        await until_stored(database, 2 * 30)
        for hour in range(1, 4):
            exchange.now = NOW + hour * HOUR
            await until_mark(database, exchange.now)
        assert sum(start < NOW - 30 * HOUR for _, start, _ in exchange.asked) == 2 * 2


class Gated(FakeExchange):
    """Tells its candles only while the gate is open."""

    gate: asyncio.Event

    async def candles(self, product_id: str, granularity: int, start: datetime, end: datetime) -> tuple[RawCandle, ...]:
        await self.gate.wait()
        return await super().candles(product_id, granularity, start, end)


async def test_an_import_does_not_tell_a_bar_before_the_exchange_does(database):
    """The bar has closed by the exchange's time, but the poller does not have it yet."""
    exchange = Gated(NOW, ["BTC-USD", "ETH-USD"])
    exchange.gate = asyncio.Event()
    exchange.fill(NOW - 30 * HOUR, NOW + 30 * HOUR)
    rows = [candle(NOW, "ETH-USD"), candle(NOW, "XYZ-USD"), candle(NOW - 25 * HOUR, "ETH-USD")]
    async with follow(database, exchange) as market:
        first = candle(NOW - HOUR, "XYZ-USD")
        assert counts(await send(market, opened(), batch(first))) == (1, 1, 0, 0, 0)  # no watermark yet
        exchange.gate.set()
        await until_mark(database, NOW)
        exchange.gate.clear()
        exchange.now = NOW + HOUR
        answer = await send(market, opened(), batch(*rows))
        assert counts(answer) == (3, 2, 0, 0, 1)
        assert [(one.code, one.count) for one in answer.refusals] == [("NEWER_THAN_FEED", 1)]
        assert "ETH-USD" in answer.refusals[0].example
        exchange.gate.set()
        await until_mark(database, NOW + HOUR)
        assert (await send(market, opened(), batch(rows[0]))).refusals[0].code == "CONFLICT"
    [kept] = [row for row in await table(database, "crypto_prices") if (row.product_id, row.start) == ("ETH-USD", NOW)]
    assert kept.source.startswith("exchange:") and kept.open == exchange.bars["ETH-USD"][NOW].open
    exchange.now = NOW + 2 * HOUR
    async with follow(database, exchange, market_follow=False) as market:
        assert (await send(market, opened(), batch(candle(NOW + HOUR, "ETH-USD")))).stored == 1
