"""The other RPCs over a real socket and database: lists, watches, backfills, and what they refuse."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
from refusals import refused

from tests.market.market_calls import (
    HOUR,
    NOW,
    backfill,
    batch,
    candle,
    exchange,
    mark_of,
    opened,
    quiet,
    send,
    table,
    until_products,
)
from tests.market.watching import candles_of, stamp, until_watermark
from trading.common.v1 import trade_pb2
from trading.market.v1 import market_service_pb2 as pb


async def test_reads_tell_every_broken_rule_at_once(database):
    async with quiet(exchange(), database) as market:
        stub = market.stub
        await until_products(market)
        request = pb.ListCandlesRequest(
            product_id="btc",
            granularity=7,
            start_time=stamp(NOW),
            end_time=stamp(NOW - HOUR),
            page_size=-1,
            page_token="?",
        )
        error = await refused(stub.ListCandles(request))
        assert {one.field for one in error.violations} == {
            "product_id",
            "granularity",
            "end_time",
            "page_size",
            "page_token",
        }
        cases = [
            (stub.ListCandles(pb.ListCandlesRequest(product_id="NOPE-USD")), "product_id"),
            (stub.WatchCandles(pb.WatchCandlesRequest(product_ids=["NOPE-USD"])), "product_ids"),
            (stub.WatchCandles(pb.WatchCandlesRequest(product_ids=["BTC-USD"] * 2)), "product_ids"),
            (stub.WatchCandles(pb.WatchCandlesRequest(product_ids=["A-USD"] * 1001)), "product_ids"),
            (stub.WatchCandles(pb.WatchCandlesRequest(after_sequence=9)), "after_sequence"),
            (stub.WatchCandles(pb.WatchCandlesRequest(after_sequence=0, watermarks_only=True)), "after_sequence"),
            (stub.WatchCandles(pb.WatchCandlesRequest(product_ids=["BTC-USD"], watermarks_only=True)), "product_ids"),
            (stub.ListProducts(pb.ListProductsRequest(page_token="e30")), "page_token"),
        ]
        for call, field in cases:
            error = await refused(call)
            assert error.code is grpc.StatusCode.INVALID_ARGUMENT
            assert [one.field for one in error.violations] == [field]


async def test_products_are_those_followed_with_the_market_factor(database):
    fake = exchange(NOW, "BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
    async with quiet(fake, database, products="SOL-USD,ETH-USD,GONE-USD") as market:
        products = await until_products(market)
        assert [product.product_id for product in products] == ["BTC-USD", "ETH-USD", "SOL-USD"]
        assert (products[0].base_currency, products[0].quote_currency) == ("BTC", "USD")
        assert (products[0].quote_increment.value, products[0].tradable) == ("0.01", True)


async def test_a_watch_resumes_without_gap_or_repetition(database):
    fake = exchange()
    fake.fill(NOW - 900 * HOUR, NOW)
    async with quiet(fake, database) as market:
        await backfill(market, NOW - 900 * HOUR)
        seen: list[int] = []
        position = 0
        for _ in range(4):
            call = market.stub.WatchCandles(pb.WatchCandlesRequest(after_sequence=position))
            frame = await call.read()
            seen += [one.sequence for one in frame.batch.candles]
            position = seen[-1]
            call.cancel()
        call = market.stub.WatchCandles(pb.WatchCandlesRequest(after_sequence=position))
        frames = await until_watermark(call, NOW)
        seen += [one.sequence for one in candles_of(frames)]
        assert seen == list(range(1, 2701))
        assert frames[-1].watermark.sequence == 2700
        call.cancel()


async def test_a_watch_may_want_some_products_or_only_what_is_to_come(database):
    fake = exchange()
    fake.fill(NOW - 3 * HOUR, NOW + HOUR)
    async with quiet(fake, database) as market:
        await backfill(market, NOW - 3 * HOUR)
        some = market.stub.WatchCandles(pb.WatchCandlesRequest(product_ids=["ETH-USD"], after_sequence=0))
        later = market.stub.WatchCandles(pb.WatchCandlesRequest())
        assert len(candles_of(await until_watermark(some, NOW))) == 3
        assert candles_of(await until_watermark(later, NOW)) == []
        fake.now = NOW + HOUR
        await backfill(market, NOW)
        assert [one.product_id for one in candles_of(await until_watermark(some, fake.now))] == ["ETH-USD"]
        assert len(candles_of(await until_watermark(later, fake.now))) == 3
        some.cancel()
        later.cancel()


async def test_a_watch_of_watermarks_gets_no_candles(database):
    fake = exchange()
    fake.fill(NOW - 3 * HOUR, NOW + 2 * HOUR)
    async with quiet(fake, database) as market:
        await backfill(market, NOW - 3 * HOUR)
        marks = market.stub.WatchCandles(pb.WatchCandlesRequest(watermarks_only=True))
        both = market.stub.WatchCandles(pb.WatchCandlesRequest())
        for call in (marks, both):
            await until_watermark(call, NOW)
        for bar in (1, 2):
            fake.now = NOW + bar * HOUR
            await backfill(market, fake.now - HOUR)
            frames = await until_watermark(marks, fake.now)
            assert [frame.WhichOneof("frame") for frame in frames] == ["watermark"]
            told = await until_watermark(both, fake.now)
            assert len(candles_of(told)) == 3
            assert frames[-1].watermark == told[-1].watermark
        marks.cancel()
        both.cancel()


async def test_the_watermark_keeps_its_promise_through_backfills(database):
    fake = exchange()
    fake.fill(NOW - 20 * HOUR, NOW + 10 * HOUR)
    async with quiet(fake, database) as market:
        await backfill(market, NOW - 20 * HOUR, end_time=stamp(NOW - 10 * HOUR))
        assert await mark_of(database) is None
        await backfill(market, NOW - 10 * HOUR, product_ids=["BTC-USD"])
        assert await mark_of(database) is None
        answer = await backfill(market, NOW - 10 * HOUR - timedelta(minutes=30))
        assert (answer.bars_total, answer.stored, answer.unchanged) == (30, 20, 10)
        assert await mark_of(database) == NOW
        fake.now = NOW + 5 * HOUR
        await backfill(market, NOW + 2 * HOUR)
        assert await mark_of(database) == NOW
        await backfill(market, NOW, end_time=stamp(NOW + 2 * HOUR))
        assert await mark_of(database) == NOW + 2 * HOUR
        await backfill(market, NOW - 5 * HOUR, end_time=stamp(NOW - 3 * HOUR))
        assert await mark_of(database) == NOW + 2 * HOUR
        fine = await backfill(market, NOW, granularity=trade_pb2.GRANULARITY_ONE_MINUTE, end_time=stamp(NOW + HOUR))
        assert (fine.bars_total, fine.stored) == (180, 3)
        assert await mark_of(database) == NOW + 2 * HOUR


async def test_a_bar_without_any_trade_still_moves_the_watermark(database):
    fake = exchange()
    fake.fill(NOW - 2 * HOUR, NOW)
    async with quiet(fake, database) as market:
        await backfill(market, NOW - 2 * HOUR)
        call = market.stub.WatchCandles(pb.WatchCandlesRequest())
        await until_watermark(call, NOW)
        fake.now = NOW + HOUR
        assert (await backfill(market, NOW)).stored == 0
        frames = await until_watermark(call, NOW + HOUR)
        assert [frame.WhichOneof("frame") for frame in frames] == ["watermark"]
        call.cancel()


async def test_what_the_exchange_tells_is_checked_by_its_own_step(database):
    fake = exchange()
    fake.fill(NOW - 2 * HOUR, NOW)
    bar = fake.bars["BTC-USD"][NOW - HOUR]
    fake.bars["BTC-USD"][NOW - HOUR] = replace(bar, low=Decimal("1e-18"))
    async with quiet(fake, database) as market:
        answer = await backfill(market, NOW - 2 * HOUR)
        assert (answer.stored, answer.refused) == (5, 1)
        [row] = await table(database, "candle_refusals")
        assert (row.code, row.product_id) == ("PRICE_BELOW_INCREMENT", "BTC-USD")
        assert await mark_of(database) == NOW


async def test_backfills_that_cannot_be_done_store_nothing(database):
    fake = exchange()
    fake.fill(NOW - 2 * HOUR, NOW)
    async with quiet(fake, database) as market:
        stub = market.stub
        request = pb.BackfillCandlesRequest(request_id="x", product_ids=["x", "x"], granularity=7, end_time=stamp(NOW))
        error = await refused(stub.BackfillCandles(request))
        found = {(one.field, one.rule) for one in error.violations}
        assert found == {
            ("request_id", "UUID"),
            ("product_ids[0]", "PRODUCT_ID"),
            ("product_ids[1]", "PRODUCT_ID"),
            ("product_ids", "REPEATED"),
            ("granularity", "ENUM"),
            ("start_time", "REQUIRED"),
        }
        given = {"request_id": str(uuid.uuid4()), "start_time": stamp(NOW - 2 * HOUR)}
        error = await refused(stub.BackfillCandles(pb.BackfillCandlesRequest(product_ids=["NOPE-USD"], **given)))
        assert [one.rule for one in error.violations] == ["UNKNOWN_PRODUCT"]
        long = {**given, "start_time": stamp(datetime(2012, 1, 1, tzinfo=UTC))}
        error = await refused(stub.BackfillCandles(pb.BackfillCandlesRequest(granularity=60, **long)))
        assert [one.rule for one in error.violations] == ["TOO_MANY_BARS"]
        fake.down = True
        error = await refused(stub.BackfillCandles(pb.BackfillCandlesRequest(**given)))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert await table(database, "crypto_prices") == []
        fake.down = False
        frames = [frame async for frame in stub.BackfillCandles(pb.BackfillCandlesRequest(**given))]
        assert frames[-1].stored == 6
        again = [frame async for frame in stub.BackfillCandles(pb.BackfillCandlesRequest(**given))]
        assert again == frames[-1:]
        other = {**given, "start_time": stamp(NOW - HOUR)}
        error = await refused(stub.BackfillCandles(pb.BackfillCandlesRequest(**other)))
        assert error.reason == "REQUEST_ID_REUSED"


async def test_writers_at_the_same_time_leave_a_gapless_stream(database):
    fake = exchange()
    fake.fill(NOW - 300 * HOUR, NOW)
    by_hand = [
        candle(NOW - n * HOUR, product_id, volume="1.25")
        for n in range(1, 200)
        for product_id in ("BTC-USD", "LTC-USD")
    ]
    async with quiet(fake, database) as market:
        async with asyncio.TaskGroup() as group:
            answers = [
                group.create_task(send(market, opened(), batch(*by_hand))),
                group.create_task(send(market, opened(), batch(*reversed(by_hand)))),
            ]
            filled = [group.create_task(backfill(market, NOW - n * HOUR)) for n in (300, 250)]
        rows = await table(database, "crypto_prices")
        assert sorted(row.sequence for row in rows) == list(range(1, len(rows) + 1))
        assert len(rows) == 3 * 300 + 199
        stored = sum(task.result().stored for task in (*answers, *filled))
        assert stored == len(rows)
