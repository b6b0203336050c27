"""The cleaned grid: what is refused, what is filled, where a product starts anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelkit.candles import CandleArrays
from modelkit.features.cleaning import Grid, Refusal, clean
from modelkit.serving import Unready, grid_stage, latest_rows
from tests.signal.signal_series import FIRST_BAR, HOUR, synthetic

FIELDS = ("start", "open", "high", "low", "close", "volume")


def without(rows: CandleArrays, *positions: int) -> CandleArrays:
    keep = np.ones(len(rows), dtype=np.bool_)
    keep[list(positions)] = False
    return rows.take(keep)


def with_value(rows: CandleArrays, field: str, at: int, value: float) -> CandleArrays:
    column = getattr(rows, field).copy()
    column[at] = value
    return replace(rows, **{field: column})


def grid_of(rows: CandleArrays) -> Grid:
    return clean({"BTC-USD": rows}, HOUR, "BTC-USD")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("close", np.nan, Refusal.NOT_FINITE),
        ("volume", np.inf, Refusal.NOT_FINITE),
        ("low", 0.0, Refusal.PRICE_NOT_POSITIVE),
        ("volume", -1.0, Refusal.VOLUME_NEGATIVE),
        ("high", 1e-9, Refusal.HIGH_TOO_LOW),
        ("low", 1e12, Refusal.LOW_TOO_HIGH),
        ("start", FIRST_BAR * HOUR + 10 * HOUR + 1, Refusal.OFF_GRID),
    ],
)
def test_bad_candle_is_refused_with_its_reason_and_becomes_a_gap(field: str, value: float, reason: Refusal) -> None:
    rows = synthetic(1, 40)["BTC-USD"]
    grid = grid_of(with_value(rows, field, 10, value))
    assert dict(grid.refused["BTC-USD"]) == {reason: 1}
    assert grid.filled[0].nonzero()[0].tolist() == [10]
    assert grid.close[0, 10] == grid.open[0, 10] == rows.close[9]
    assert grid.volume[0, 10] == 0.0


def test_gap_of_twelve_is_filled_and_thirteen_resets() -> None:
    rows = synthetic(1, 60)["BTC-USD"]
    filled = grid_of(without(rows, *range(20, 32)))
    assert filled.filled.sum() == 12
    assert filled.since_reset[0].tolist() == list(range(1, 61))
    reset = grid_of(without(rows, *range(20, 33)))
    assert np.isnan(reset.close[0]).nonzero()[0].tolist() == [32]
    assert reset.since_reset[0, 31:35].tolist() == [32, 0, 1, 2]


def test_a_growing_gap_looks_the_same_while_it_grows() -> None:
    rows = synthetic(1, 60)["BTC-USD"]
    broken = without(rows, *range(20, 36))
    whole = grid_of(broken)
    for last in range(19, 60):
        seen = broken.take(broken.start <= (FIRST_BAR + last) * HOUR)
        now = clean({"BTC-USD": seen}, HOUR, "BTC-USD", FIRST_BAR, FIRST_BAR + last)
        assert np.array_equal(now.close, whole.close[:, : last + 1], equal_nan=True)
        assert np.array_equal(now.since_reset, whole.since_reset[:, : last + 1])


def test_order_duplicates_and_late_candles_change_nothing() -> None:
    candles = synthetic(2, 420)
    expected = grid_stage(clean(candles, HOUR, "BTC-USD")).values
    rng = np.random.default_rng(1)
    mixed = {
        name: rows.take(rng.permutation(np.concatenate([np.arange(420), rng.integers(0, 420, 50)])))
        for name, rows in candles.items()
    }
    assert np.array_equal(grid_stage(clean(mixed, HOUR, "BTC-USD")).values, expected, equal_nan=True)


def test_later_candle_of_the_same_start_is_a_correction_unless_it_is_bad() -> None:
    rows = synthetic(1, 30)["BTC-USD"]
    columns = {name: np.append(getattr(rows, name), getattr(rows, name)[5]) for name in FIELDS}
    corrected = replace(rows, **columns)
    assert grid_of(with_value(corrected, "volume", 30, 5.0)).volume[0, 5] == 5.0
    assert grid_of(with_value(corrected, "volume", 30, -5.0)).volume[0, 5] == rows.volume[5]


def test_more_than_a_fifth_filled_is_sparse() -> None:
    candles = synthetic(2, 600)
    gaps = list(range(440, 600, 5))  # 32 bars of the last 168
    rows = candles["C01-USD"]
    last = FIRST_BAR + 599
    few = latest_rows(candles | {"C01-USD": without(rows, *gaps)}, last, HOUR, "BTC-USD")
    assert few.ready.all()
    many = latest_rows(candles | {"C01-USD": without(rows, *gaps, 441, 451)}, last, HOUR, "BTC-USD")
    assert many.reasons == ((), (Unready.SPARSE,))
    assert np.isnan(many.values[1]).all() and np.isfinite(many.values[0]).all()


def test_without_the_factor_no_row_is_ready() -> None:
    candles = synthetic(2, 600)
    last = FIRST_BAR + 599
    alone = latest_rows({"C01-USD": candles["C01-USD"]}, last, HOUR, "BTC-USD")
    assert alone.reasons == ((Unready.NO_FACTOR,),)
    broken = candles | {"BTC-USD": without(candles["BTC-USD"], *range(560, 573))}
    rows = latest_rows(broken, last, HOUR, "BTC-USD")
    assert rows.reasons == ((Unready.NOT_READY, Unready.NO_FACTOR), (Unready.NO_FACTOR,))
    assert not np.isfinite(rows.values).any()


def test_bars_since_candle_counts_filled_bars() -> None:
    candles = synthetic(2, 600)
    late = candles | {"C01-USD": candles["C01-USD"].take(np.arange(597))}
    rows = latest_rows(late, FIRST_BAR + 599, HOUR, "BTC-USD")
    assert rows.bars_since_candle.tolist() == [0, 3]
