"""The bar-by-bar engine against the history engine, bit for bit, and against computations of another kind."""

from __future__ import annotations

import numpy as np
import pytest

from modelkit.candles import CandleArrays
from modelkit.features.anchors import anchor
from modelkit.features.cleaning import Grid, clean
from modelkit.features.definition import INDEX, READY_BARS
from modelkit.features.incremental import FeatureEngine
from modelkit.features.laststage import LastStage
from modelkit.serving import grid_stage
from tests.signal.flat_market import flat
from tests.signal.oracle import READY, oracle
from tests.signal.signal_series import FIRST_BAR, HOUR, real, synthetic

BTC = "BTC-USD"
REAL = (
    "BTC-USD",
    "ETH-USD",
    "SOL-USD",
    "LTC-USD",
    "DOGE-USD",
    "SHIB-USD",
    "ZEC-USD",
    "1INCH-USD",
    "BAL-USD",
    "BNT-USD",
)


def feed(engine: FeatureEngine, grid: Grid, first: int, last: int) -> LastStage:
    """Steps `first` to `last` of the grid (positions); arrays of the stages with time as last axis."""
    values, sd_24, sd_168 = [], [], []
    for t in range(first, last):
        columns = (np.ascontiguousarray(field[:, t]) for field in (grid.open, grid.high, grid.low, grid.close))
        stage = engine.step(grid.first_bar + t, *columns, grid.volume[:, t].copy(), float(grid.factor[t]))
        values.append(stage.values.copy())
        sd_24.append(stage.sd_24.copy())
        sd_168.append(stage.sd_168.copy())
    return LastStage(np.stack(values, axis=-1), np.stack(sd_24, axis=-1), np.stack(sd_168, axis=-1))


def assert_same_bits(one: LastStage, other: LastStage) -> None:
    """Equal to the sign of zero."""
    for mine, theirs in ((one.values, other.values), (one.sd_24, other.sd_24), (one.sd_168, other.sd_168)):
        equal = mine.view(np.int64) == np.ascontiguousarray(theirs).view(np.int64)
        assert (equal | (np.isnan(mine) & np.isnan(theirs))).all()


def part(stage: LastStage, rows: slice, first: int) -> LastStage:
    return LastStage(stage.values[:, rows, first:], stage.sd_24[rows, first:], stage.sd_168[rows, first:])


def with_holes(candles: dict[str, CandleArrays], seed: int = 3) -> dict[str, CandleArrays]:
    rng = np.random.default_rng(seed)
    for number, (name, rows) in enumerate(candles.items()):
        keep = np.ones(len(rows), dtype=np.bool_)
        for begin in rng.integers(0, len(rows), 2 * number):
            keep[begin : begin + rng.integers(1, 5 if number != 3 else 16)] = False
        candles[name] = rows.take(keep)
    return candles


def test_a_step_gives_the_bits_of_history_through_gaps_and_resets() -> None:
    grid = clean(with_holes(synthetic(6, 1300)), HOUR, BTC)
    whole = grid_stage(grid)
    assert np.isfinite(whole.values[0]).sum() > 3000
    assert_same_bits(feed(FeatureEngine(grid.products, HOUR, BTC), grid, 0, grid.bars), whole)


@pytest.mark.parametrize("begin", [1, 100, 163])
def test_the_engines_agree_from_any_shared_start(begin: int) -> None:
    grid = clean(synthetic(3, 1000), HOUR, BTC).cut(FIRST_BAR + begin)
    assert_same_bits(feed(FeatureEngine(grid.products, HOUR, BTC), grid, 0, grid.bars), grid_stage(grid))


@pytest.mark.parametrize("products", [REAL[:3], REAL], ids=["three", "ten"])
def test_a_step_gives_the_bits_of_history_on_real_candles(products: tuple[str, ...]) -> None:
    grid = clean(real(products, "2025-02-01", "2025-04-20"), HOUR, BTC)
    whole = grid_stage(grid)
    assert np.isfinite(whole.values[0]).any(axis=1).sum() >= min(8, len(products))
    assert_same_bits(feed(FeatureEngine(grid.products, HOUR, BTC), grid, 0, grid.bars), whole)


def test_a_product_added_later_and_one_replaced_change_nothing_for_the_others() -> None:
    grid = clean(synthetic(4, 900), HOUR, BTC)
    whole = grid_stage(grid)
    two = clean({name: rows for name, rows in synthetic(4, 900).items() if name in grid.products[:2]}, HOUR, BTC)
    engine, late = FeatureEngine(grid.products[:2], HOUR, BTC), FeatureEngine(grid.products[1:], HOUR, BTC)
    feed(engine, two, 0, 600)
    for t in range(600):
        fields = (grid.open, grid.high, grid.low, grid.close, grid.volume)
        late.warm(grid.first_bar + t, *(field[1:, t].copy() for field in fields), float(grid.factor[t]))
    joined = engine.splice(late)
    assert joined.products == grid.products
    assert_same_bits(feed(joined, grid, 600, 900), part(whole, slice(None), 600))
    fewer = engine.select(grid.products[1:2])
    with pytest.raises(ValueError, match="different bars"):
        joined.splice(fewer)


def test_a_bar_left_out_is_refused() -> None:
    engine = FeatureEngine((BTC,), HOUR, BTC)
    price = np.ones(1)
    engine.step(100, price, price, price, price, price, 1.0)
    for wrong in (100, 102, 99):
        with pytest.raises(ValueError, match="does not follow"):
            engine.step(wrong, price, price, price, price, price, 1.0)


def test_degenerate_series_stay_finite_and_neutral_step_by_step() -> None:
    candles = {BTC: flat(1e6, 0.0, 700), "A-USD": flat(1e-8, 0.0, 700), "B-USD": flat(0.1, 3.0, 700)}
    jump = np.where(np.arange(700) < 500, 0.1, 0.3)
    candles["C-USD"] = CandleArrays(candles[BTC].start, jump, jump, jump, jump, np.ones(700))
    grid = clean(candles, HOUR, BTC)
    found = feed(FeatureEngine(grid.products, HOUR, BTC), grid, 0, grid.bars)
    assert_same_bits(found, grid_stage(grid))
    ready = found.values[:, :, READY_BARS - 1 :]
    assert np.isfinite(ready).all()
    assert (ready[INDEX["rsi_14"], :3] == 0.5).all()
    assert (ready[INDEX["beta_168"]] == 0.0).all()


def test_every_chain_begins_at_its_anchor() -> None:
    """A price far away before the anchor leaves no bit in the rows that read from it."""
    candles = synthetic(2, 1100)
    bar = FIRST_BAR + 1099
    before = candles["C01-USD"].start < anchor(bar) * HOUR
    rows = candles["C01-USD"]
    moved = CandleArrays(rows.start, *(np.where(before, 3.0 * x, x) for x in rows.prices()), rows.volume)
    one, other = (clean({**candles, "C01-USD": version}, HOUR, BTC) for version in (rows, moved))
    last = [feed(FeatureEngine(grid.products, HOUR, BTC), grid, 0, grid.bars) for grid in (one, other)]
    assert_same_bits(part(last[0], slice(None), -1), part(last[1], slice(None), -1))
    between = anchor(bar) + 100 - FIRST_BAR  # reads an older chain, which did see the other price
    assert last[0].values[INDEX["adx_14"], 1, between] != last[1].values[INDEX["adx_14"], 1, between]


def test_steps_agree_with_talib() -> None:
    grid = clean(synthetic(4, 1500), HOUR, BTC)
    values = feed(FeatureEngine(grid.products, HOUR, BTC), grid, 0, grid.bars).values
    for row in range(len(grid.products)):
        fields = (grid.open[row], grid.high[row], grid.low[row], grid.close[row], grid.volume[row], grid.factor)
        for name, (expected, tolerance) in oracle(*fields).items():
            assert np.abs(values[INDEX[name], row, READY:] - expected[READY:]).max() <= tolerance, name


def test_nothing_drifts_over_many_bars() -> None:
    """After 3,000 bars the window sums equal sums over the window alone; a running sum would have drifted."""
    bars = 3_000
    candles = synthetic(2, bars, seed=8)
    grid = clean(candles, HOUR, BTC)
    engine = FeatureEngine(grid.products, HOUR, BTC)
    fields = [np.ascontiguousarray(field.T) for field in (grid.open, grid.high, grid.low, grid.close, grid.volume)]
    for t in range(bars - 1):
        engine.warm(grid.first_bar + t, *(field[t] for field in fields), float(grid.factor[t]))
    values = engine.step(grid.first_bar + bars - 1, *(field[-1] for field in fields), float(grid.factor[-1])).values
    for row, name in enumerate(grid.products):
        returns = np.diff(np.log(candles[name].close[-169:]))
        assert values[INDEX["vol_cc_24"], row] == pytest.approx(np.std(returns[-24:], ddof=1), abs=1e-12)
        assert values[INDEX["sma_dist_168"], row] == pytest.approx(
            candles[name].close[-1] / candles[name].close[-168:].mean() - 1.0, abs=1e-9
        )
        factor = np.diff(np.log(grid.factor[-169:]))
        assert values[INDEX["corr_168"], row] == pytest.approx(np.corrcoef(returns, factor)[0, 1], abs=1e-9)
