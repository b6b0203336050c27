"""A replayed file: its own candles digit for digit, coarser ones recomputed by hand, its clock's ends."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candle_files.rows import UnusableFile
from exchange_sim.market import UnsupportedGranularity
from exchange_sim.market_bars import BarMarket
from exchange_sim.market_replay import ReplayBars

D = Decimal
HOUR, SECOND_US = 3600, 1_000_000
BEGIN = 1_735_689_600
Row = tuple[int, float, float, float, float, float]


def rows(seed: int, count: int) -> list[Row]:
    """Random hourly candles with holes, their values floats with as many digits as one carries."""
    chance, price, made = random.Random(seed), 100.0, []
    for i in range(count):
        if i and chance.random() < 0.15:
            continue
        opened, closed = price, price * (1 + chance.gauss(0, 0.01))
        high = max(opened, closed) * (1 + chance.random() / 100)
        low = min(opened, closed) * (1 - chance.random() / 100)
        values = (float(f"{value:.15g}") for value in (opened, high, low, closed, chance.random() * 1e3))
        made.append((BEGIN + i * HOUR, *values))
        price = closed
    return made


def write(path: Path, products: dict[str, list[Row]], granularity: str = "ONE_HOUR") -> Path:
    flat = [(product, granularity, row[0] * SECOND_US, *row[1:]) for product, made in products.items() for row in made]
    names = ["product_id", "granularity", "start", "open", "high", "low", "close", "volume"]
    columns = dict(zip(names, map(list, zip(*flat, strict=True)), strict=True))
    start = pa.array(columns.pop("start"), pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({**columns, "start": start}), path)
    return path


SERIES = {"BTC-USD": rows(1, 200), "ODD-USD": rows(2, 150)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("replay") / "candles.parquet", SERIES)


@pytest.fixture
def market(file: Path) -> BarMarket:
    return BarMarket(ReplayBars(file, ()), D(2))


END_US = (BEGIN + 500 * HOUR) * SECOND_US


async def test_own_candles_are_unchanged(market: BarMarket) -> None:
    for product, made in SERIES.items():
        found = await market.candles(product, HOUR, BEGIN, BEGIN + 500 * HOUR, END_US)
        assert [(c.start, *map(float, (c.open, c.high, c.low, c.close, c.volume))) for c in found] == made
        assert all(c.open == D(repr(row[1])) for c, row in zip(found, made, strict=True))


@pytest.mark.parametrize("granularity", [7200, 21600, 86400])
async def test_coarser_candles_are_recomputed(market: BarMarket, granularity: int) -> None:
    for product, made in SERIES.items():
        buckets: dict[int, list[Row]] = {}
        for row in made:
            buckets.setdefault(row[0] - row[0] % granularity, []).append(row)
        found = await market.candles(product, granularity, BEGIN, BEGIN + 500 * HOUR, END_US)
        assert [(c.start, float(c.open), float(c.high), float(c.low), float(c.close)) for c in found] == [
            (start, part[0][1], max(r[2] for r in part), min(r[3] for r in part), part[-1][4])
            for start, part in buckets.items()
        ]
        volumes = [sum((D(repr(r[5])) for r in part), D(0)) for part in buckets.values()]
        assert [c.volume for c in found] == pytest.approx(volumes, rel=D("1e-25"))


async def test_finer_candles_do_not_exist(market: BarMarket) -> None:
    with pytest.raises(UnsupportedGranularity):
        await market.candles("BTC-USD", 900, BEGIN, BEGIN + HOUR, END_US)


async def test_nothing_of_the_future_shows(market: BarMarket) -> None:
    made = SERIES["BTC-USD"]
    for i, row in enumerate(made[:-1]):
        at_boundary = await market.candles("BTC-USD", HOUR, BEGIN, BEGIN + 500 * HOUR, row[0] * SECOND_US)
        assert len(at_boundary) == i, "a bar that has just begun has no trade yet"
        inside = await market.candles("BTC-USD", HOUR, row[0], row[0], (row[0] + 600) * SECOND_US)
        [unfinished] = inside
        assert float(unfinished.open) == row[1] and float(unfinished.volume) == pytest.approx(row[5] / 6, abs=1e-8)
        assert row[3] <= float(unfinished.low) and float(unfinished.high) <= row[2]


def test_last_price_is_the_open_at_a_boundary_and_the_last_close_in_a_hole(market: BarMarket) -> None:
    made = {row[0]: row for row in SERIES["BTC-USD"]}
    last = None
    for start in range(BEGIN, BEGIN + 200 * HOUR, HOUR):
        quote = market.quote("BTC-USD", start * SECOND_US)
        assert quote is not None
        expected = made[start][1] if start in made else last
        assert float(quote.last) == expected
        assert quote.bid < quote.last < quote.ask and quote.bid % D("0.01") == quote.ask % D("0.01") == 0
        assert quote.ask >= quote.last * D("1.0001") > quote.ask - D("0.01")
        assert quote.bid <= quote.last * D("0.9999") < quote.bid + D("0.01")
        last = made[start][4] if start in made else last
    assert market.quote("BTC-USD", (BEGIN - 1) * SECOND_US) is None


def test_a_product_whose_prices_lie_below_the_step_in_dollars_has_a_step_of_its_own(tmp_path: Path) -> None:
    cheap = [(start, *(round(value / 30_000, 6) for value in rest)) for start, *rest in rows(3, 50)]
    absurd = (BEGIN - HOUR, 1e-18, 1e-18, 1e-18, 1e-18, 1.0)
    path = write(tmp_path / "a.parquet", {"LTC-BTC": cheap, "LTC-USD": [absurd, *rows(4, 50)]})
    steps = {product.product_id: product.price_increment for product in ReplayBars(path, ()).products()}
    assert steps == {"LTC-BTC": D("0.000001"), "LTC-USD": D("0.01")}


def test_unusable_files_are_refused(tmp_path: Path, file: Path) -> None:
    (tmp_path / "text").write_text("no parquet")
    mixed = [(BEGIN + 60, *[1.0] * 5)]
    cases: list[tuple[Path, tuple[str, ...]]] = [
        (tmp_path / "absent", ()),
        (tmp_path / "text", ()),
        (file, ("NOPE-USD",)),
        (file, ("BTC-USD", "NOPE-USD")),
        (write(tmp_path / "unknown.parquet", {"A-USD": rows(3, 5)}, "ONE_MOON"), ()),
        (write(tmp_path / "not-a-number.parquet", {"A-USD": [(BEGIN, float("nan"), 1.0, 1.0, 1.0, 1.0)]}), ()),
        (write(tmp_path / "off-grid.parquet", {"A-USD": mixed}), ()),
    ]
    for path, products in cases:
        with pytest.raises((UnusableFile, FileNotFoundError)):
            ReplayBars(path, products)


def test_rows_in_any_order_and_twice_make_one_series_and_bad_ones_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = rows(3, 9)
    bad = (good[-1][0] + HOUR, 1.0, 0.5, 1.0, 1.0, 1.0)
    bars = ReplayBars(write(tmp_path / "a.parquet", {"A-USD": [*good[::-1], good[0], bad]}), ())
    assert [bar.start for bar in bars.bars("A-USD", 0, BEGIN * 2)] == [row[0] for row in good]
    assert "1 rows left out as HIGH_BELOW_BODY" in caplog.text


def test_replay_process(launch: Callable[..., Any], file: Path) -> None:
    sim = launch(market=f"replay:{file}", products="BTC-USD")
    client, made = sim.client(), SERIES["BTC-USD"]
    status = sim.control("GET", "status").json()
    assert (status["label"], status["market"], status["products"]) == ("REPLAY", f"replay:{file}", ["BTC-USD"])
    assert status["now"] == status["first_bar"] == "2025-01-01T00:00:00.000000Z"
    start, *values = made[40]
    sim.advance(_iso(start))
    order_id = client.market_order_buy("at-the-open", "BTC-USD", quote_size="100").success_response["order_id"]
    price = D(client.get_order(order_id).order.average_filled_price)
    assert price - D("0.01") < D(repr(values[0])) * D("1.0001") <= price, "the open plus half the spread"
    newest = client.get_candles("BTC-USD", str(start - 300 * HOUR), str(start), "ONE_HOUR").candles[0]
    assert float(newest.close) == made[39][4]
    end = int(made[-1][0]) + HOUR
    assert sim.control("POST", "advance", {"to": _iso(end + 1)}).status_code == 409
    assert sim.advance(_iso(end))["now"][:19] == _iso(end)[:19]


def _iso(seconds: int) -> str:

    return datetime.fromtimestamp(seconds, UTC).isoformat()
