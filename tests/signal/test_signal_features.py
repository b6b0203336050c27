"""Properties every feature has to have: causal, free of scale, independent of the start, finite, bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelkit.candles import CandleArrays, FloatArray
from modelkit.features.cleaning import clean
from modelkit.features.definition import FEATURES, INDEX, NAMES, feature_set_hash, names_of
from modelkit.features.history import history
from modelkit.features.windows import window_moment, window_sum
from modelkit.serving import anchor, first_needed_bar, grid_stage, latest_rows
from tests.signal.flat_market import flat
from tests.signal.signal_series import FIRST_BAR, HOUR, joined, real, synthetic

READY = 349
UNIT = ("rsi_14", "stoch_k_14", "stoch_d_14_3", "ultosc_7_14_28", "er_24", "up_share_24", "downside_share_24")
UNIT += ("mfi_14", "adx_14", "upper_wick", "lower_wick")
SIGNED = ("di_diff_14", "aroon_osc_25", "obv_flow_24", "cmf_20", "body", "corr_168")
SIGNED += ("hour_sin", "hour_cos", "dow_sin", "dow_cos")
POSITIVE = ("vol_cc_24", "parkinson_24", "garman_klass_24", "yang_zhang_24", "natr_14", "bb_width_20")


def features(candles: dict[str, CandleArrays]) -> FloatArray:
    return grid_stage(clean(candles, HOUR, "BTC-USD")).values


def test_definition_has_51_names_in_the_stated_order() -> None:
    assert len(NAMES) == len(set(NAMES)) == 51
    places = {"ret_1": 0, "ret_z_24": 7, "rsi_14": 17, "vol_cc_24": 24, "relvol_24": 33, "body": 39}
    places |= {"hour_sin": 43, "mkt_ret_24": 47, "resid_ret_24": 50}
    assert {name: INDEX[name] for name in places} == places
    assert [feature.group for feature in FEATURES].count("volatility") == 9
    assert feature_set_hash(3600) != feature_set_hash(900)


def test_a_hash_gives_the_names_of_its_set() -> None:
    for granularity in (60, 300, 900, 3600, 86400):
        assert names_of(feature_set_hash(granularity)) == NAMES
    for unknown in ("", "a" * 64, feature_set_hash(7)):
        assert names_of(unknown) == ()


def test_ready_rows_are_finite_and_bounded_and_earlier_rows_are_empty() -> None:
    values = features(synthetic(6, 900))
    assert np.isnan(values[:, :, :READY]).all()
    ready = values[:, :, READY:]
    assert np.isfinite(ready).all()
    for names, low, high in ((UNIT, 0.0, 1.0), (SIGNED, -1.0, 1.0), (POSITIVE, 0.0, np.inf)):
        for name in names:
            assert ready[INDEX[name]].min() >= low - 1e-9, name
            assert ready[INDEX[name]].max() <= high + 1e-9, name


def test_the_factor_itself_has_beta_one_exactly() -> None:
    values = features(synthetic(3, 700))[:, 0, READY:]
    assert (values[INDEX["beta_168"]] == 1.0).all()
    assert (values[INDEX["corr_168"]] == 1.0).all()
    assert (values[INDEX["resid_ret_24"]] == 0.0).all()


def test_later_bars_change_no_bit_of_earlier_rows() -> None:
    start, *columns, factor = joined(synthetic(3, 800))
    before = history(start, *columns, factor)
    rng = np.random.default_rng(5)
    for t in (READY, 420, 503, 671):
        changed = [column.copy() for column in (*columns, factor)]
        for column in changed:
            column[..., t + 1 :] *= np.exp(rng.normal(0.0, 0.2, column[..., t + 1 :].shape))
        after = history(start, *changed)
        assert np.array_equal(after[:, :, : t + 1], before[:, :, : t + 1], equal_nan=True)
        shorter = history(start[: t + 1], *(column[..., : t + 1] for column in (*columns, factor)))
        assert np.array_equal(shorter, before[:, :, : t + 1], equal_nan=True)


@pytest.mark.parametrize("price", [1e-6, 3e-3, 7.0, 1e6])
@pytest.mark.parametrize("volume", [1e-3, 1e6])
def test_scale_of_price_and_volume_does_not_matter(price: float, volume: float) -> None:
    candles = synthetic(3, 600)
    scaled = {
        name: CandleArrays(rows.start, *(column * price for column in rows.prices()), rows.volume * volume)
        for name, rows in candles.items()
    }
    gap = np.abs(features(scaled) - features(candles))[:, :, READY:]
    assert gap.max() <= 1e-9


@pytest.mark.parametrize("skipped", [1, 13, 100, 167, 168])
def test_rows_do_not_depend_on_where_the_series_starts(skipped: int) -> None:
    candles = synthetic(4, 900)
    whole = features(candles)
    late = features({name: rows.take(np.arange(skipped, 900)) for name, rows in candles.items()})
    gap = np.abs(late - whole[:, :, skipped:])[:, :, READY:]
    assert gap.max() <= 1e-9
    assert gap[:, :, 518 - READY :].max() == 0.0  # every chain begins at an anchor within the shorter series
    windowed = [INDEX[name] for name in ("vol_cc_24", "bb_width_20", "corr_168", "mfi_14", "linreg_slope_24")]
    assert gap[windowed].max() == 0.0


def test_live_rows_are_the_bits_of_training_rows() -> None:
    candles = synthetic(3, 1100)
    whole = features(candles)
    for last in (FIRST_BAR + 700, FIRST_BAR + 868, *range(FIRST_BAR + 930, FIRST_BAR + 936)):
        window = {name: rows.take(rows.start >= first_needed_bar(last) * HOUR) for name, rows in candles.items()}
        live = latest_rows(window, last, HOUR, "BTC-USD")
        assert live.ready.all()
        assert np.array_equal(live.values, whole[:, :, last - FIRST_BAR].T)
        assert 350 <= last - anchor(last) <= 517
        early = latest_rows(candles, last, HOUR, "BTC-USD")  # a process that has more history and later bars
        assert np.array_equal(early.values, live.values)
        assert np.array_equal(early.sd_168, live.sd_168)


@pytest.mark.parametrize(
    ("products", "thinned"),
    [(("BTC-USD", "ETH-USD", "BNT-USD", "1INCH-USD"), ()), (("BTC-USD", "ETH-USD", "SOL-USD"), ("ETH-USD", "SOL-USD"))],
    ids=["thinly-traded", "thinned-out"],
)
def test_live_rows_are_the_bits_of_training_rows_on_real_candles_with_gaps(
    products: tuple[str, ...], thinned: tuple[str, ...]
) -> None:
    candles = real(products, "2025-01-01", "2025-05-01")
    chance = np.random.default_rng(5)
    for name in thinned:
        candles[name] = candles[name].take(chance.random(len(candles[name].start)) > 0.06)
    grid = clean(candles, HOUR, "BTC-USD")
    whole = grid_stage(grid)
    usable = np.isfinite(whole.values[0]) & ~grid.sparse()
    compared = 0
    for t in range(360, grid.bars, 211):
        bar = grid.first_bar + t
        window = {
            name: rows.take((rows.start >= first_needed_bar(bar) * HOUR) & (rows.start <= bar * HOUR))
            for name, rows in candles.items()
        }
        live = latest_rows(window, bar, HOUR, "BTC-USD")
        assert live.ready.tolist() == usable[:, t].tolist()
        if t >= 518:  # from here on no chain reaches before the series
            assert np.array_equal(live.values[live.ready], whole.values[:, :, t].T[live.ready])
            compared += int(live.ready.sum())
    assert compared > 30


NEUTRAL = {
    "rsi_14": 0.5,
    "stoch_k_14": 0.5,
    "ultosc_7_14_28": 0.5,
    "mfi_14": 0.5,
    "bb_pctb_20": 0.5,
    "downside_share_24": 0.5,
    "adx_14": 0.0,
    "cmf_20": 0.0,
    "er_24": 0.0,
    "vol_ratio_24_168": 0.0,
    "relvol_24": 0.0,
    "relvol_24_168": 0.0,
    "obv_flow_24": 0.0,
    "body": 0.0,
    "range_atr": 0.0,
    "macd_hist_atr": 0.0,
    "beta_168": 0.0,
    "corr_168": 0.0,
    "ret_z_24": 0.0,
}


@pytest.mark.parametrize("price", [1e-8, 0.1, 1e6])
def test_constant_price_without_volume_gives_the_neutral_values(price: float) -> None:
    values = features({"BTC-USD": flat(price, 0.0)})[:, 0, READY:]
    assert np.isfinite(values).all()
    for name, neutral in NEUTRAL.items():
        assert np.abs(values[INDEX[name]] - neutral).max() <= 1e-12, name


def test_one_tick_moves_and_a_step_stay_finite() -> None:
    rows = flat(1e-8, 3.0, 500)
    ticks = np.where(np.arange(500) % 7 == 0, 1.01e-8, 1e-8)
    tick = CandleArrays(rows.start, ticks, ticks, ticks, ticks, rows.volume)
    step = flat(0.1, 3.0, 500)
    level = np.where(np.arange(500) < 380, 0.1, 0.3)
    stepped = CandleArrays(step.start, level, level, level, level, step.volume)
    values = features({"BTC-USD": tick, "S-USD": stepped})[:, :, READY:]
    assert np.isfinite(values).all()
    after = values[:, 1, -1]  # the step has left every window of 20 and 24 bars
    assert after[INDEX["bb_pctb_20"]] == 0.5
    assert after[INDEX["vol_cc_24"]] == 0.0


@pytest.mark.parametrize(("missing", "ready"), [(12, True), (13, False)])
def test_rows_go_on_after_twelve_missing_bars_and_warm_up_again_after_thirteen(missing: int, ready: bool) -> None:
    candles = synthetic(2, 800)
    rows = candles["C01-USD"]
    keep = np.ones(800, dtype=np.bool_)
    keep[400 : 400 + missing] = False
    values = features(candles | {"C01-USD": rows.take(keep)})[:, 1]
    assert np.isfinite(values[:, 400 + missing]).all() == ready
    assert np.isfinite(values[:, 411]).all()  # inside the gap nobody knows yet how long it will be
    assert np.isfinite(values[:, 400 + missing + READY]).all()
    assert np.isfinite(values[:, 400 + missing + READY - 1]).all() == ready


@pytest.mark.parametrize("width", [3, 7, 24, 168])
@pytest.mark.parametrize("first_bar", [0, 5, FIRST_BAR])
def test_window_sum_is_the_sum_and_does_not_remember(width: int, first_bar: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(0.0, 1.0, (2, 400))
    x[:, 50] = 1e15  # a running sum that subtracts would carry this on
    found = window_sum(x, width, first_bar)
    assert np.isnan(found[:, : width - 1]).all()
    for t in (width - 1, 219, 300, 399):
        expected = x[:, t - width + 1 : t + 1].sum(axis=1)
        assert found[:, t] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.array_equal(window_sum(x[:, 31:], width, first_bar + 31)[:, width:], found[:, 31 + width :])


def test_variance_of_large_prices_keeps_its_digits() -> None:
    rng = np.random.default_rng(3)
    x = 1e9 + rng.normal(0.0, 1e-2, (1, 200))
    found = window_moment(x, 20, 7)
    for t in (60, 111, 199):
        window = x[:, t - 19 : t + 1] - 1e9
        assert found[0, t] == pytest.approx(float(((window - window.mean()) ** 2).sum()), rel=1e-6)


def test_rejects_start_times_with_holes() -> None:
    start, *columns = joined(synthetic(1, 10))
    holed = np.concatenate([start[:5], start[5:] + HOUR])
    with pytest.raises(ValueError, match="consecutive"):
        history(holed, *columns)


def test_columns_of_different_length_are_refused() -> None:
    rows = synthetic(1, 10)["BTC-USD"]
    with pytest.raises(ValueError, match="length"):
        replace(rows, close=rows.close[1:])


def test_a_gap_across_the_anchor_is_filled_from_before_it() -> None:
    candles = synthetic(2, 1100)
    origin = anchor(FIRST_BAR + 900)
    bar = origin + 350
    rows = candles["C01-USD"]
    present = (rows.start < (origin - 3) * HOUR) | (rows.start >= (origin + 3) * HOUR)
    broken = candles | {"C01-USD": rows.take(present)}
    live = latest_rows(broken, bar, HOUR, "BTC-USD")
    assert anchor(bar) == origin
    assert live.ready.all()
    whole = features(broken)[:, :, bar - FIRST_BAR]
    assert np.abs(live.values - whole.T).max() <= 1e-9


def test_products_worked_on_together_or_apart_give_the_same_bits() -> None:
    start, *columns, factor = joined(synthetic(150, 500))  # more than go together
    whole = history(start, *columns, factor)
    for row in (0, 130, 131, 149):
        alone = history(start, *(column[row : row + 1] for column in columns), factor)
        assert alone[:, 0].tobytes() == whole[:, row].tobytes()
