"""DeleteCandles and `mesh data delete`: previewed, recorded, and what is missing then is asked of the exchange again."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from commands import mesh
from refusals import refused

from cli.instance_file import write_instance
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from svc_market.history import plan_pages
from svc_market.paging import Span
from tests.market.conftest import FakeExchange
from tests.market.following import follow, until_mark, until_stored
from tests.market.market_calls import (
    HOUR,
    NOW,
    batch,
    candle,
    exchange,
    opened,
    quiet,
    send,
    table,
    until_products,
)
from tests.market.watching import stamp
from trading.market.v1 import market_service_pb2 as pb


def asked(**changes) -> pb.DeleteCandlesRequest:
    given = {"request_id": str(uuid.uuid4()), "product_id": "BTC-USD", "granularity": 3600, "note": "wrong unit"}
    return pb.DeleteCandlesRequest(**{**given, "start_time": stamp(NOW - 5 * HOUR), "end_time": stamp(NOW), **changes})


async def test_what_was_previewed_is_deleted_once_and_kept_in_the_record(database):
    async with quiet(exchange(), database) as market:
        rows = [candle(NOW - n * HOUR) for n in (1, 2, 3, 6)]
        await send(market, opened(file_name="wrong.csv"), batch(*rows, candle(NOW - 2 * HOUR, "ETH-USD")))
        await send(market, opened(file_name="right.csv"), batch(candle(NOW - 4 * HOUR)))
        preview = await market.stub.DeleteCandles(asked())
        assert (preview.count, preview.deleted, list(preview.sources)) == (
            4,
            False,
            ["file:right.csv", "file:wrong.csv"],
        )
        request = asked(source="file:wrong.csv")
        preview = await market.stub.DeleteCandles(request)
        assert (preview.count, preview.first_start_time) == (3, stamp(NOW - 3 * HOUR))
        assert len(await table(database, "crypto_prices")) == 6
        request.expected_count = 4
        error = await refused(market.stub.DeleteCandles(request))
        assert [(one.field, one.rule) for one in error.violations] == [("expected_count", "MOVED")]
        request.expected_count = 3
        gone = await market.stub.DeleteCandles(request)
        assert (gone.count, gone.deleted) == (3, True)
        assert await market.stub.DeleteCandles(request) == gone, "the same request is answered from the store"
        left = await table(database, "crypto_prices")
        assert {(row.product_id, row.start) for row in left} == {
            ("BTC-USD", NOW - 6 * HOUR),
            ("BTC-USD", NOW - 4 * HOUR),
            ("ETH-USD", NOW - 2 * HOUR),
        }
        [record] = await table(database, "candle_deletions")
        assert (record.count, record.caller, record.note) == (3, "operator", "wrong unit")
        taken = await table(database, "deleted_candles")
        assert {(row.start, row.close) for row in taken} == {(NOW - n * HOUR, Decimal(105)) for n in (1, 2, 3)}
        assert {row.request_id for row in taken} == {record.request_id}


async def test_a_deletion_that_says_too_little_is_refused_whole(database):
    async with quiet(exchange(), database) as market:
        error = await refused(market.stub.DeleteCandles(pb.DeleteCandlesRequest()))
        fields = {one.field for one in error.violations}
        assert fields == {"request_id", "product_id", "start_time", "end_time", "note"}


async def test_the_command_shows_asks_and_deletes(database, tmp_path, monkeypatch):
    async with quiet(exchange(), database) as market:
        await until_products(market)
        await send(market, opened(file_name="wrong.csv"), batch(candle(NOW - 2 * HOUR)))
        home = MeshHome.at(tmp_path / "home")
        home.prepare()
        write_instance(home, resolve(UpRequest(), None, {"MARKET_PORT": str(market.service.port)}))
        monkeypatch.setenv("MESH_HOME", str(home.root))
        words = ["data", "delete", "btc-usd", "--from", "2025-10-01", "--to", "2025-11-02", "--note", "a test"]
        ran = await mesh(*words, typed="n\n")
        assert ran.exit_code == 2 and "1 candles of BTC-USD" in ran.output and "file:wrong.csv" in ran.output
        assert len(await table(database, "crypto_prices")) == 1
        ran = await mesh(*words, "--yes")
        assert ran.exit_code == 0 and "deleted 1 candles" in ran.output
        assert await table(database, "crypto_prices") == []
        ran = await mesh(*words, "--yes")
        assert ran.exit_code == 0 and "no candle of BTC-USD" in ran.output


async def test_holes_and_an_absurd_old_row_do_not_keep_history_from_coming(database):
    """One row of long ago is the oldest there is, and says nothing of what lies after it."""
    now = datetime(2025, 5, 1, tzinfo=UTC)
    fake = FakeExchange(now, ["BTC-USD", "ETH-USD"])
    fake.fill(now - 1000 * HOUR, now + 30 * HOUR)
    async with quiet(fake, database) as market:
        old = datetime(2010, 1, 1, tzinfo=UTC)
        given = [candle(when, "BTC-USD") for when in (old, now - 690 * HOUR, now - 30 * HOUR)]
        await send(market, opened(), batch(*given))
    async with follow(database, fake, market_history_bars=700) as market:
        await until_stored(database, 2 * 700 + 1)
        rows = [row for row in await table(database, "crypto_prices") if row.product_id == "BTC-USD"]
        assert sorted(row.start for row in rows) == [old, *(now - n * HOUR for n in range(700, 0, -1))]
        assert await table(database, "candle_refusals") == [], "what is stored between the holes is left alone"
        hole = {"start_time": stamp(now - 500 * HOUR), "end_time": stamp(now - 490 * HOUR)}
        await market.stub.DeleteCandles(asked(**hole, expected_count=10))
        await until_stored(database, 2 * 700 + 1)
        await until_mark(database, now)
    rows = [row for row in await table(database, "crypto_prices") if row.product_id == "BTC-USD"]
    assert len(rows) == 701 and len(await table(database, "deleted_candles")) == 10


@pytest.mark.parametrize(
    ("gaps", "pages"),
    [
        ([], []),
        ([(0, 5)], [(0, 5)]),
        ([(0, 1), (3, 4), (8, 9)], [(0, 9)]),
        ([(0, 1), (11, 12)], [(11, 12), (0, 1)]),
        ([(0, 25)], [(15, 25), (5, 15), (0, 5)]),
        ([(0, 2), (4, 16)], [(6, 16), (0, 6)]),
    ],
)
def test_pages_cover_the_gaps_and_nothing_twice(gaps, pages):
    at = lambda hours: NOW + timedelta(hours=hours)  # noqa: E731
    found = plan_pages([Span(at(first), at(last)) for first, last in gaps], 3600, most=10)
    assert [(page.span.start, page.span.end) for page in found] == [(at(first), at(last)) for first, last in pages]
    covered = sorted((gap.start, gap.end) for page in found for gap in page.gaps)
    hours = [(end - start) // HOUR for start, end in covered]
    assert sum(hours) == sum(last - first for first, last in gaps)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(covered))
    assert all(page.span.start <= gap.start and gap.end <= page.span.end for page in found for gap in page.gaps)
