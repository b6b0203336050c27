"""The RPCs over a real socket and database: imports, lists, watches, backfills, and what they refuse."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from meshkit.errors import MeshError, from_rpc_error
from tests.market.conftest import FakeExchange, running
from tests.market.test_market_follow import candles_of, stamp, until_watermark
from tradekit.decimals import plain
from trading.common.v1 import decimal_pb2, trade_pb2
from trading.market.v1 import market_service_pb2 as pb

HOUR = timedelta(hours=1)
NOW = datetime(2025, 11, 1, tzinfo=UTC)
VALUES = ("open", "high", "low", "close", "volume")


def exchange(now: datetime = NOW, *products: str) -> FakeExchange:
    return FakeExchange(now, products or ("BTC-USD", "ETH-USD", "SOL-USD"))


def quiet(fake: FakeExchange, database: Any, **changes: Any) -> Any:
    """A service that stores only what it is told to."""
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


async def refused(call: Any) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    return from_rpc_error(caught.value)


async def table(database: Any, name: str) -> list[Any]:
    async with database.engine.connect() as connection:
        return list(await connection.execute(text(f"SELECT * FROM {name}")))


def counts(answer: pb.ImportCandlesResponse) -> tuple[int, int, int, int, int]:
    return (answer.received, answer.stored, answer.unchanged, answer.skipped, answer.refused)


async def test_real_candles_go_in_and_come_out_digit_for_digit(database, shared, tmp_path):
    """A part of the real file with all its products; of it two products and a week are wanted."""
    begin, start, end = (datetime(2025, 10, day, tzinfo=UTC) for day in (18, 20, 27))
    real = shared / "data" / "candles-coinbase-ONE_HOUR.parquet"
    part = pq.read_table(real, filters=[("start", ">=", begin)])
    path = tmp_path / "real.parquet"
    pq.write_table(part, path, row_group_size=1000)
    wanted = ("BTC-USD", "SHIB-USD")
    rows = [row for row in part.to_pylist() if row["product_id"] in wanted and start <= row["start"] < end]
    async with quiet(exchange(), database) as market:
        chosen = {"only_product_ids": wanted, "start_time": stamp(start), "end_time": stamp(end)}
        answer = await send_file(market, path, **chosen)
        assert answer.format == "parquet"
        assert counts(answer) == (part.num_rows, len(rows), 0, part.num_rows - len(rows), 0)
        for product_id in wanted:
            found = await listed(market, product_id, page_size=37)
            told = [(one.start_time.ToDatetime(UTC), *(getattr(one, name).value for name in VALUES)) for one in found]
            assert told == [
                (row["start"], *(plain(Decimal(repr(row[name]))) for name in VALUES))
                for row in rows
                if row["product_id"] == product_id
            ]
            assert {one.source for one in found} == {"file:real.parquet"}


async def test_both_vendor_samples_and_their_repetition(database, shared):
    samples = shared / "data" / "import-samples"
    trap = samples / "cryptodatadownload-Coinbase_BTCUSD_1h-2017-mixed-timezones.csv"
    sample = samples / "cryptodatadownload-Coinbase_BTCUSD_1h-2020.csv"
    async with quiet(exchange(), database) as market:
        assert counts(await send_file(market, trap)) == (5149, 5144, 5, 0, 0)
        first = await send_file(market, sample)
        assert counts(first) == (4000, 3999, 0, 0, 1)
        assert [(one.code, one.count) for one in first.refusals] == [("NOT_CLOSED", 1)]
        assert "2020-10-24T07:00" in first.refusals[0].example
        before = await table(database, "crypto_prices"), await table(database, "candle_refusals")
        assert counts(await send_file(market, trap)) == (5149, 0, 5149, 0, 0)
        assert counts(await send_file(market, sample)) == (4000, 0, 3999, 0, 1)
        assert before == (await table(database, "crypto_prices"), await table(database, "candle_refusals"))
        assert sorted(row.sequence for row in before[0]) == list(range(1, 5144 + 3999 + 1))
        assert await table(database, "watermarks") == []


async def test_a_request_id_is_answered_once_and_bound_to_its_body(database):
    async with quiet(exchange(), database) as market:
        first = opened(request_id=str(uuid.uuid4()))
        answer = await send(market, first, batch(candle()))
        assert answer.stored == 1
        assert await send(market, first, batch(candle())) == answer
        error = await refused(send(market, first, batch(candle(volume="8"))))
        assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        assert len(await table(database, "crypto_prices")) == 1


async def test_rows_are_refused_by_reason_and_a_stored_bar_stays(database):
    async with quiet(exchange(), database) as market:
        await send(market, opened(), batch(candle()))
        rows = [
            candle(volume="8"),
            candle(),
            candle(NOW - 3 * HOUR, high="104"),
            candle(NOW - 3 * HOUR, low="101"),
            candle(NOW - 3 * HOUR, open="0"),
            candle(NOW - 3 * HOUR, volume="-1"),
            candle(NOW - 3 * HOUR + timedelta(minutes=1)),
            candle(NOW),
            candle(NOW + HOUR),
            candle(NOW - 4 * HOUR),
        ]
        answer = await send(market, opened(), batch(*rows))
        assert counts(answer) == (10, 1, 1, 0, 8)
        codes = {one.code: one.count for one in answer.refusals}
        assert codes == dict.fromkeys(
            [
                "CONFLICT",
                "HIGH_BELOW_BODY",
                "LOW_ABOVE_BODY",
                "PRICE_NOT_POSITIVE",
                "VOLUME_NEGATIVE",
                "OFF_GRID",
                "NOT_CLOSED",
                "FUTURE",
            ],
            1,
        )
        stored = await listed(market, "BTC-USD")
        assert [one.volume.value for one in stored] == ["7", "7"]
        assert len(await table(database, "candle_refusals")) == 8


async def test_a_hundred_refused_rows_are_kept_and_all_are_counted(database):
    async with quiet(exchange(), database) as market:
        bad = [candle(NOW - n * HOUR, volume="-1") for n in range(1, 251)]
        answer = await send(market, opened(), batch(*bad[:130]), batch(*bad[130:]))
        assert counts(answer) == (250, 0, 0, 0, 250)
        assert len(await table(database, "candle_refusals")) == 100


async def test_imports_that_break_the_contract_store_nothing(database):
    many = pb.ImportCandlesRequest(file_chunk=bytes(1024 * 1024 + 1))
    good = batch(candle())
    cases: list[tuple[tuple[pb.ImportCandlesRequest, ...], set[tuple[str, str]]]] = [
        ((), {("open", "FIRST")}),
        ((good,), {("open", "FIRST")}),
        ((opened(),), {("frame", "EMPTY")}),
        ((opened(), opened()), {("open", "SEQUENCE")}),
        ((opened(), pb.ImportCandlesRequest()), {("frame", "SEQUENCE")}),
        ((opened(), good, pb.ImportCandlesRequest(file_chunk=b"x")), {("file_chunk", "SEQUENCE")}),
        ((opened(), good, batch()), {("candles.candles", "COUNT")}),
        ((opened(), many), {("file_chunk", "LENGTH")}),
        ((opened(), pb.ImportCandlesRequest(file_chunk=b"rubbish")), {("file_name", "FORMAT")}),
        (
            (opened(request_id="7", file_name="", product_id="btc", granularity=7, only_product_ids=["x"]), good),
            {
                ("open.request_id", "UUID"),
                ("open.file_name", "REQUIRED"),
                ("open.product_id", "PRODUCT_ID"),
                ("open.granularity", "ENUM"),
                ("open.only_product_ids[0]", "PRODUCT_ID"),
            },
        ),
        (
            (opened(start_time=stamp(NOW), end_time=stamp(NOW)), good),
            {("open.end_time", "ORDER")},
        ),
        (
            (
                opened(),
                good,
                batch(candle(), pb.Candle(product_id="x", granularity=7, open=decimal_pb2.Decimal(value="NaN"))),
            ),
            {
                ("candles.candles[1].product_id", "PRODUCT_ID"),
                ("candles.candles[1].granularity", "ENUM"),
                ("candles.candles[1].granularity", "REQUIRED"),
                ("candles.candles[1].start_time", "REQUIRED"),
                ("candles.candles[1].open", "DECIMAL_TEXT"),
                ("candles.candles[1].high", "REQUIRED"),
                ("candles.candles[1].low", "REQUIRED"),
                ("candles.candles[1].close", "REQUIRED"),
                ("candles.candles[1].volume", "REQUIRED"),
            },
        ),
    ]
    async with quiet(exchange(), database) as market:
        for frames, expected in cases:
            error = await refused(send(market, *frames))
            assert error.code is grpc.StatusCode.INVALID_ARGUMENT
            assert {(one.field, one.rule) for one in error.violations} == expected
        assert await table(database, "crypto_prices") == []
        assert await table(database, "stored_requests") == []
        assert (await send(market, opened(), good)).stored == 1


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
            (stub.ListProducts(pb.ListProductsRequest(page_token="e30")), "page_token"),
        ]
        for call, field in cases:
            error = await refused(call)
            assert error.code is grpc.StatusCode.INVALID_ARGUMENT
            assert [one.field for one in error.violations] == [field]


async def until_products(market: Any) -> list[pb.Product]:
    async with asyncio.timeout(10):
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


async def backfill(market: Any, start: datetime, **query: Any) -> pb.BackfillCandlesResponse:
    request = pb.BackfillCandlesRequest(request_id=str(uuid.uuid4()), start_time=stamp(start), **query)
    frames = [frame async for frame in market.stub.BackfillCandles(request)]
    assert [frame.done for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert sorted(frame.bars_done for frame in frames) == [frame.bars_done for frame in frames]
    return frames[-1]


async def mark_of(database: Any) -> datetime | None:
    rows = await table(database, "watermarks")
    return rows[0].as_of if rows else None


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


async def test_in_a_simulated_market_an_import_needs_its_time(database):
    fake = exchange()
    async with quiet(fake, database) as market:
        await until_products(market)
        fake.down = True
        error = await refused(send(market, opened(), batch(candle())))
        assert error.reason == "DEPENDENCY_UNAVAILABLE"
    async with quiet(fake, database, venue="PAPER") as market:
        assert (await send(market, opened(), batch(candle()))).stored == 1
