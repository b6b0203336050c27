"""The generated market: the same at every asking, unbroken, without end, and worth learning from."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from exchange_sim.candle_path import partial, price_at
from exchange_sim.generator import CHUNK_SECONDS
from exchange_sim.market import UnknownProduct
from exchange_sim.market_bars import fold
from exchange_sim.market_generated import GeneratedBars

DAY = 86_400
GENESIS = 1_735_689_600 - 100 * DAY
IDS = ("BTC-USD", "ETH-USD", "DOGE-USD")


@pytest.fixture(scope="module")
def bars() -> GeneratedBars:
    return GeneratedBars(7, IDS, GENESIS)


def boundary(chunks_later: int) -> int:
    return (GENESIS // CHUNK_SECONDS + chunks_later) * CHUNK_SECONDS


def test_independent_of_the_order_of_asking_and_of_other_products(bars: GeneratedBars) -> None:
    late, early = boundary(4) - 5 * 300, GENESIS
    backwards = GeneratedBars(7, ("DOGE-USD",), GENESIS)
    second = backwards.bars("DOGE-USD", late, late + 3000)
    first = backwards.bars("DOGE-USD", early, early + 3000)
    assert bars.bars("DOGE-USD", early, early + 3000) == first
    assert bars.bars("DOGE-USD", late, late + 3000) == second
    one_by_one = [backwards.bar("DOGE-USD", late + i * 300) for i in range(10)]
    assert one_by_one == second
    assert GeneratedBars(8, ("DOGE-USD",), GENESIS).bars("DOGE-USD", early, early + 3000) != first


def test_forgotten_chunks_come_back_the_same() -> None:
    market = GeneratedBars(7, ("BTC-USD",), GENESIS)
    before = market.bars("BTC-USD", GENESIS, GENESIS + DAY)
    assert market.bar("BTC-USD", boundary(60)) is not None
    assert len(market._rows) <= 40
    assert market.bars("BTC-USD", GENESIS, GENESIS + DAY) == before


def test_bars_are_whole_and_join(bars: GeneratedBars) -> None:
    for product in bars.products():
        found = bars.bars(product.product_id, boundary(2) - DAY, boundary(2) + DAY)
        assert [b.start for b in found] == list(range(boundary(2) - DAY, boundary(2) + DAY, 300))
        for bar, following in pairwise(found):
            assert bar.close == following.open
        for bar in found:
            assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert bar.volume > 0
            assert all(p % product.price_increment == 0 for p in (bar.open, bar.high, bar.low, bar.close))


def test_coarse_candles_are_the_fine_ones_folded(bars: GeneratedBars) -> None:
    begin = boundary(3) - 2 * DAY
    for granularity in (900, 3600, 21600, DAY):
        coarse = bars.aggregate("ETH-USD", granularity, begin, begin + 4 * DAY)
        assert [c.start for c in coarse] == list(range(begin, begin + 4 * DAY, granularity))
        for candle in coarse:
            assert candle == fold(candle.start, bars.bars("ETH-USD", candle.start, candle.start + granularity))


def test_nothing_before_the_beginning(bars: GeneratedBars) -> None:
    assert bars.bar("BTC-USD", GENESIS - 300) is None
    assert bars.bars("BTC-USD", GENESIS - DAY, GENESIS) == []
    assert bars.aggregate("BTC-USD", 3600, GENESIS - DAY, GENESIS + 3600)[0].start == GENESIS


def test_unknown_product_is_refused() -> None:
    with pytest.raises(UnknownProduct, match="BTC"):
        GeneratedBars(1, ("NOPE-USD",), GENESIS)


def test_the_path_inside_a_bar_stays_inside_and_ends_as_the_bar(bars: GeneratedBars) -> None:
    for bar in bars.bars("BTC-USD", GENESIS, GENESIS + DAY):
        length = 300_000_000
        assert price_at(bar, length, 0) == bar.open and price_at(bar, length, length) == bar.close
        assert partial(bar, length, length) == bar
        volumes = []
        for offset in range(1, length, 41_000_017):
            seen = partial(bar, length, offset)
            assert bar.low <= seen.low <= price_at(bar, length, offset) <= seen.high <= bar.high
            volumes.append(seen.volume)
        assert volumes == sorted(volumes) and volumes[-1] <= bar.volume


def test_structure_that_a_model_can_find() -> None:
    market = GeneratedBars(1, IDS, 1_735_689_600 - 540 * DAY)
    for product_id in IDS:
        hours = market.aggregate(product_id, 3600, market.first, 1_735_689_600)
        logs = np.log([float(c.close) for c in hours])
        returns = np.diff(logs)
        past, future = logs[24:-24] - logs[:-48], logs[48:] - logs[24:-24]
        size = np.abs(returns - returns.mean())
        tails = ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2
        assert 0.1 < np.corrcoef(past, future)[0, 1] < 0.6, "momentum, but no certainty"
        assert np.corrcoef(size[24:], size[:-24])[0, 1] > 0.03, "volatility clusters"
        assert tails > 3.5
        volume = np.array([float(c.volume) for c in hours]).reshape(-1, 24).mean(axis=0)
        assert volume[15] > 1.3 * volume[3], "the day has a shape"
        assert hours[-1].close > Decimal(0)
