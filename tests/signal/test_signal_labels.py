"""Labels by hand-made paths, and the sampling of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelkit.candles import CandleArrays
from modelkit.features.cleaning import Grid, clean
from modelkit.labels import NO_LABEL, LabelRule, Outcome, barrier_sigma, label
from modelkit.sampling import balanced_weights, class_shares, correct_for_prior, thinned
from tests.signal.signal_series import FIRST_BAR, HOUR

RULE = LabelRule(horizon_bars=4, fee_ratio=0.0, slippage_ratio=0.0, margin_ratio=0.0)
SIGMA = 0.02


def path(highs: list[float], lows: list[float], missing: tuple[int, ...] = ()) -> Grid:
    """Close 100 throughout; highs and lows as given from the second bar on, then quiet bars."""
    high, low = np.full(12, 100.0), np.full(12, 100.0)
    high[1 : 1 + len(highs)], low[1 : 1 + len(lows)] = highs, lows
    level = np.full(12, 100.0)
    start = (FIRST_BAR + np.arange(12, dtype=np.int64)) * HOUR
    rows = CandleArrays(start, level, high, low, level, level)
    keep = np.isin(np.arange(12), missing, invert=True)
    return clean({"BTC-USD": rows.take(keep)}, HOUR, "BTC-USD", FIRST_BAR, FIRST_BAR + 11)


def first_label(grid: Grid, rule: LabelRule = RULE, sigma: float = SIGMA) -> int:
    shape = grid.close.shape
    return int(label(grid, np.full(shape, sigma), np.ones(shape, dtype=np.bool_), rule)[0, 0])


UP, DOWN = 100 * np.exp(0.0201), 100 * np.exp(-0.0201)


@pytest.mark.parametrize(
    ("highs", "lows", "expected"),
    [
        ([100, UP, 100, 100], [100, 100, 100, 100], Outcome.UP),
        ([100, 100, 100, 100], [100, 100, DOWN, 100], Outcome.DOWN),
        ([101, 101, 101, 101], [99, 99, 99, 99], Outcome.NEUTRAL),
        ([100, UP, 100, 100], [100, 100, DOWN, 100], Outcome.UP),
        ([100, 100, UP, 100], [100, DOWN, 100, 100], Outcome.DOWN),
        ([100, UP, 100, 100], [100, DOWN, 100, 100], Outcome.DOWN),
        ([100, 100, 100, UP], [100, 100, 100, 100], Outcome.UP),
        ([100, 100, 100, 100, UP], [100, 100, 100, 100, 100], Outcome.NEUTRAL),
    ],
)
def test_first_touch_decides(highs: list[float], lows: list[float], expected: Outcome) -> None:
    assert first_label(path(highs, lows)) == expected


def test_a_rise_that_does_not_pay_its_round_trip_is_neutral_and_a_fall_stays_down() -> None:
    rising, falling = path([UP], [100]), path([100], [DOWN])
    dear = replace(RULE, fee_ratio=0.009, slippage_ratio=0.0005, margin_ratio=0.002)  # needs 2.1 %
    assert dear.round_trip_cost == pytest.approx(0.019)
    assert first_label(rising, dear) == Outcome.NEUTRAL
    assert first_label(falling, dear) == Outcome.DOWN
    cheap = replace(dear, fee_ratio=0.008)
    assert first_label(rising, cheap) == Outcome.UP


def test_a_row_needs_its_whole_future() -> None:
    grid = path([], [])
    shape = grid.close.shape
    found = label(grid, np.full(shape, SIGMA), np.ones(shape, dtype=np.bool_), RULE)[0]
    assert found.tolist() == [Outcome.NEUTRAL] * 8 + [NO_LABEL] * 4
    unready = label(grid, np.full(shape, SIGMA), np.zeros(shape, dtype=np.bool_), RULE)
    assert (unready == NO_LABEL).all()


def test_filled_bars_and_resets_in_the_future_take_the_label_away() -> None:
    assert first_label(path([], [], missing=(6,))) == Outcome.NEUTRAL
    assert first_label(path([], [], missing=(3,))) == NO_LABEL
    ten = replace(RULE, horizon_bars=10)
    assert first_label(path([], [], missing=(3,)), ten) == Outcome.NEUTRAL
    assert first_label(path([], [], missing=(3, 5)), ten) == NO_LABEL


def test_barrier_follows_both_deviations_and_has_a_floor() -> None:
    sigma = barrier_sigma(np.asarray([0.03, 0.0]), np.asarray([0.04, 0.0]), 24)
    assert sigma == pytest.approx([np.sqrt((0.0009 + 0.0016) / 2 * 24), 1e-4 * np.sqrt(24)])


def test_stride_shows_every_hour_of_the_day() -> None:
    labels = np.zeros((1, 24 * 35), dtype=np.int64)
    rows = thinned(labels, FIRST_BAR, 5)[0].nonzero()[0]
    assert {int(FIRST_BAR + row) % 24 for row in rows} == set(range(24))
    assert (np.diff(rows) == 5).all()
    with pytest.raises(ValueError, match="factor"):
        thinned(labels, FIRST_BAR, 4)


def test_prior_correction_undoes_balancing() -> None:
    labels = np.asarray([0] * 6 + [1] * 3 + [2])
    shares = class_shares(labels)
    assert shares == pytest.approx([0.6, 0.3, 0.1])
    weights = balanced_weights(labels, shares)
    totals = [weights[labels == code].sum() for code in range(3)]
    assert totals == pytest.approx([10 / 3] * 3)
    blind = correct_for_prior(np.full((1, 3), 1 / 3), shares)[0]
    assert blind == pytest.approx(shares)
    sure = correct_for_prior(np.asarray([[0.0, 0.0, 1.0]]), shares)[0]
    assert sure == pytest.approx([0.0, 0.0, 1.0])
