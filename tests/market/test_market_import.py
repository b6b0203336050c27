"""ImportCandles over a real socket and database: what it stores, what it refuses and with which words."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
import pyarrow.parquet as pq
import pytest
from commands import mesh
from refusals import refused

from cli.instance_file import write_instance
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from tests.market.market_calls import (
    HOUR,
    NOW,
    VALUES,
    batch,
    candle,
    counts,
    exchange,
    listed,
    opened,
    quiet,
    send,
    send_file,
    table,
    until_products,
)
from tests.market.watching import stamp
from tradekit.decimals import plain
from trading.common.v1 import decimal_pb2
from trading.market.v1 import market_service_pb2 as pb


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


@pytest.mark.parametrize("nanos", [1, 999, 1_000, 500_000_000])
async def test_a_start_that_is_off_by_nanoseconds_is_off_the_grid(database, nanos):
    moved = candle()
    moved.start_time.nanos = nanos
    async with quiet(exchange(), database) as market:
        answer = await send(market, opened(), batch(moved, candle(NOW - 3 * HOUR)))
        assert counts(answer) == (2, 1, 0, 0, 1)
        assert [one.code for one in answer.refusals] == ["OFF_GRID"]
        assert [one.start_time.ToDatetime(UTC) for one in await listed(market, "BTC-USD")] == [NOW - 3 * HOUR]


async def test_a_price_below_the_products_step_is_no_price_of_this_exchange(database):
    """Of a product that the exchange was asked about; of others nothing is known that a price could break."""
    absurd = dict.fromkeys(VALUES, "0.000000000000000001")
    async with quiet(exchange(), database) as market:
        await until_products(market)
        rows = [candle(NOW - n * HOUR) for n in (2, 4)]
        answer = await send(
            market,
            opened(),
            batch(*rows, candle(NOW - 3 * HOUR, **absurd), candle(NOW - 5 * HOUR, low="0.009")),
            batch(candle(NOW - 6 * HOUR, low="0.01"), candle(NOW - 3 * HOUR, "XYZ-USD", **absurd)),
        )
        assert counts(answer) == (6, 4, 0, 0, 2)
        assert [(one.code, one.count) for one in answer.refusals] == [("PRICE_BELOW_INCREMENT", 2)]
        assert "BTC-USD" in answer.refusals[0].example
        assert len(await listed(market, "BTC-USD")) == 3
        assert [row.code for row in await table(database, "candle_refusals")] == ["PRICE_BELOW_INCREMENT"] * 2


async def test_a_hundred_refused_rows_are_kept_and_all_are_counted(database):
    async with quiet(exchange(), database) as market:
        bad = [candle(NOW - n * HOUR, volume="-1") for n in range(1, 251)]
        answer = await send(market, opened(), batch(*bad[:130]), batch(*bad[130:]))
        assert counts(answer) == (250, 0, 0, 0, 250)
        assert len(await table(database, "candle_refusals")) == 100


async def test_a_made_up_market_takes_real_candles_only_when_told(database, tmp_path, monkeypatch):
    """Whoever asks: a generated client, or `mesh import`, which says what to do."""
    file = tmp_path / "mine.csv"
    file.write_text("product_id,granularity,start,open,high,low,close,volume\n")
    async with quiet(exchange(), database, market_simulated=True) as market:
        instance = resolve(UpRequest(), None, {"MARKET_PORT": str(market.service.port)})
        home = MeshHome.at(tmp_path / "home")
        home.prepare()
        write_instance(home, instance)
        monkeypatch.setenv("MESH_HOME", str(home.root))
        request_id = str(uuid.uuid4())
        for given in (batch(candle()), pb.ImportCandlesRequest(file_chunk=bytes(1024 * 1024))):
            error = await refused(send(market, opened(request_id=request_id), given))
            assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MARKET_SIMULATED")
            assert "into_simulated" in error.message
        ran = await mesh("import", str(file))
        said = " ".join(ran.output.split())
        assert ran.exit_code == 2 and "MARKET_SIMULATED" in said and "--into-simulated" in said
        assert await table(database, "crypto_prices") == await table(database, "stored_requests") == []
        ran = await mesh("import", str(file), "--into-simulated")
        assert "MARKET_SIMULATED" not in ran.output
        # A refused import stands for nothing yet: its id can be used for the one that is meant.
        answer = await send(market, opened(request_id=request_id, into_simulated=True), batch(candle()))
        assert counts(answer) == (1, 1, 0, 0, 0)
    async with quiet(exchange(), database) as market:
        assert counts(await send(market, opened(), batch(candle(NOW - 3 * HOUR)))) == (1, 1, 0, 0, 0)


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


async def test_in_a_simulated_market_an_import_needs_its_time(database):
    fake = exchange()
    async with quiet(fake, database) as market:
        await until_products(market)
        fake.down = True
        error = await refused(send(market, opened(), batch(candle())))
        assert error.reason == "DEPENDENCY_UNAVAILABLE"
    async with quiet(fake, database, venue="PAPER") as market:
        assert (await send(market, opened(), batch(candle()))).stored == 1


async def test_every_line_of_a_file_is_accounted_for_and_no_fault_of_a_file_is_internal(database, tmp_path):
    header, seconds = "timestamp,open,high,low,close,volume", int((NOW - 9 * HOUR).timestamp())
    good = [f"{seconds + n * 3600},1,2,0.5,1,1" for n in range(4)]
    path = tmp_path / "BTC_USD-1h.csv"
    path.write_text("\n".join([header, good[0], '"' + good[1], "", good[2], good[2], good[3], "0,1,2,0.5,1,1", header]))
    async with quiet(exchange(), database) as market:
        answer = await send_file(market, path)
        assert counts(answer) == (6, 3, 1, 0, 2)
        assert (answer.lines, answer.headers, answer.blanks) == (9, 2, 1)
        assert {one.code: one.count for one in answer.refusals} == {"DAMAGED": 1, "TIME_UNREADABLE": 1}
        path.write_bytes(b"PK\x03\x04" + bytes(200))
        error = await refused(send_file(market, path))
        assert (error.code, [one.rule for one in error.violations]) == (grpc.StatusCode.INVALID_ARGUMENT, ["DAMAGED"])
        error = await refused(
            send(market, opened(file_name="XBTUSD_240.csv"), pb.ImportCandlesRequest(file_chunk=b"1,1"))
        )
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
