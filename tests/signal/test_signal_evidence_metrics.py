"""Metrics, backtest and bootstrap against hand-made cases and other people's implementations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from modelkit.candles import FloatArray
from modelkit.decision import Thresholds
from modelkit.features.cleaning import clean
from modelkit.labels import LabelRule
from modelkit.metrics import brier, calibration_error, log_loss, measure, precision_at, reliability
from modelkit.sampling import average_uniqueness, time_decay
from modelkit.serving import grid_stage
from tests.signal.market_doubles import YEAR, market_of_gains, without_exits
from tests.signal.signal_series import synthetic
from training.backtest import Costs, Market, market_of, simulate, simulate_trades, statistics
from training.baselines import buy_and_hold, moving_averages, random_entries, turned_by
from training.evidence import ALWAYS_HOLD
from training.fit import learning_table
from training.metrics_bootstrap import block_totals, interval_90
from training.metrics_drift import DRIFT_FEATURES, drift, stability_index
from training.metrics_sharpe import deflated_sharpe, expected_best, sharpe_ratio
from training.trades import Trades, calls_of, trade


def rows(number: int, seed: int) -> tuple[FloatArray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet((2.0, 3.0, 2.0), number)
    outcomes = np.asarray([rng.choice(3, p=each) for each in probabilities])
    return probabilities, outcomes


def test_losses_agree_with_the_library() -> None:
    probabilities, outcomes = rows(500, 1)
    assert log_loss(probabilities, outcomes) == pytest.approx(sklearn_log_loss(outcomes, probabilities))
    assert brier(probabilities, outcomes) == pytest.approx(
        sum(brier_score_loss(outcomes == code, probabilities[:, code]) for code in range(3))
    )


def test_honest_probabilities_are_calibrated_and_shifted_ones_are_not() -> None:
    probabilities, outcomes = rows(20_000, 2)
    table = reliability(probabilities, outcomes)
    assert len(table) == 20 and sum(each.rows for each in table) == 20_000
    assert calibration_error(table) < 0.015
    shifted = probabilities.copy()
    shifted[:, 2] = np.minimum(1.0, shifted[:, 2] + 0.2)
    assert calibration_error(reliability(shifted, outcomes)) == pytest.approx(0.2, abs=0.02)


def test_ranking_looks_at_payable_rows_alone() -> None:
    probabilities = np.asarray([[0.1, 0.2, 0.7], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1]])
    outcomes = np.asarray([2, 0, 0, 2])
    payable = np.asarray([True, True, False, False])
    assert measure(probabilities, outcomes, payable).auc_up_down == 1.0
    assert measure(probabilities, outcomes, ~payable).auc_up_down == 0.0
    assert measure(probabilities, np.zeros(4, dtype=np.int64), payable).auc_up_down is None


def test_precision_counts_calls_at_and_above_the_threshold() -> None:
    probabilities = np.asarray([[0.1, 0.5, 0.4], [0.1, 0.3, 0.6], [0.6, 0.3, 0.1], [0.4, 0.3, 0.3]])
    found = precision_at(probabilities, np.asarray([2, 0, 0, 0]), (0.29, 0.45, 0.9))
    assert [(each.buys, each.buy_precision) for each in found] == [(2, 0.5), (1, 0.0), (0, None)]
    assert [(each.sells, each.sell_precision) for each in found] == [(1, 1.0), (1, 1.0), (0, None)]


def traded(edge: FloatArray, barrier: FloatArray, cost: float, buy: FloatArray, sell: FloatArray) -> Trades:
    """Without exits of its own, in a market that is there throughout."""
    there = np.ones(edge.shape, dtype=np.bool_)
    return trade(calls_of(edge, barrier, cost, buy, sell), without_exits(edge.shape), there)


def by_hand(edge: FloatArray, barrier: FloatArray, cost: float, buy: float, sell: float) -> FloatArray:
    """Bar by bar, as a service would."""
    held = np.zeros(edge.shape)
    for row in range(len(edge)):
        now = 0.0
        for bar in range(edge.shape[1]):
            if edge[row, bar] <= -sell or buy >= 1.0:
                now = 0.0
            elif edge[row, bar] >= buy and edge[row, bar] * barrier[row, bar] > cost:
                now = 1.0
            held[row, bar] = now
    return held


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from((0.05, 0.2, 1.0)), st.sampled_from((0.0, 0.01)))
def test_positions_are_those_of_a_bar_by_bar_walk(seed: int, buy: float, cost: float) -> None:
    rng = np.random.default_rng(seed)
    edge = rng.uniform(-0.5, 0.5, (2, 40))
    edge[rng.random(edge.shape) < 0.2] = np.nan
    barrier = rng.uniform(0.0, 0.1, edge.shape)
    found = traded(edge, barrier, cost, np.full(40, buy), np.full(40, 0.1))
    assert (found.held == by_hand(edge, barrier, cost, buy, 0.1)).all()


def test_a_position_is_closed_where_a_block_without_evidence_begins() -> None:
    edge = np.asarray([[0.5, 0.0, 0.5, 0.0]])
    limits = [Thresholds(0.2, 0.1)] * 2 + [ALWAYS_HOLD] * 2
    buy, sell = (np.asarray([getattr(each, name) for each in limits]) for name in ("theta_buy", "theta_sell"))
    assert traded(edge, np.full((1, 4), 0.1), 0.0, buy, sell).held.tolist() == [[True, True, False, False]]


def test_a_decision_is_executed_at_the_next_open() -> None:
    grid = clean(synthetic(1, 60), 3600, "BTC-USD")
    market = market_of(grid)
    assert market.gain[0, 10] == pytest.approx(grid.open[0, 12] / grid.open[0, 11] - 1.0)
    assert not market.present[0, -2:].any() and market.present[0, :-2].all()
    later = replace(grid, open=np.where(np.arange(60) > 11, grid.open, grid.open * 1.5))
    assert market_of(later).gain[0, 9] == pytest.approx(market.gain[0, 9])
    assert market_of(later).gain[0, 10] != pytest.approx(market.gain[0, 10])


def test_costs_returns_and_counts_by_hand() -> None:
    market = Market(np.asarray([[0.1, 0.2, -0.5, 0.3], [0.0, 0.0, 0.0, 0.0]]), np.ones((2, 4), dtype=np.bool_), YEAR)
    held = np.asarray([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    found = simulate(held, market, 0.01)
    assert found.net == pytest.approx([0.045, 0.1, -0.005, 0.14])
    stats = statistics(found, market)
    assert (found.changes, stats.trades) == (4, 2)
    assert stats.total_return == pytest.approx(1.045 * 1.1 * 0.995 * 1.14 - 1.0)
    assert stats.max_drawdown == pytest.approx(0.005)
    assert stats.exposure == pytest.approx(3 / 8)
    assert stats.profit_per_trade == pytest.approx(0.56 / 2)
    assert stats.turnover_per_year == pytest.approx(4 / (8 / YEAR))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.01))
def test_every_change_pays_its_cost_once_whenever_products_begin_and_end(seed: int, cost: float) -> None:
    rng = np.random.default_rng(seed)
    bars = 50
    present = np.zeros((3, bars), dtype=np.bool_)
    for row in range(3):
        begin, end = sorted(rng.choice(bars, 2, replace=False))
        present[row, begin : end + 1] = True
    market = Market(np.where(present, rng.normal(0, 0.01, (3, bars)), 0.0), present, YEAR)
    held = (rng.random((3, bars)) < 0.5).astype(np.float64)
    free, dear = simulate(held, market, 0.0), simulate(held, market, cost)
    kept = calls_of(np.where(held > 0.0, 1.0, -1.0), np.ones(held.shape), 0.0, np.full(bars, 0.5), np.full(bars, 0.5))
    same = simulate_trades(trade(kept, without_exits(held.shape), present), market, Costs.per_side(cost))
    assert same.net == pytest.approx(dear.net, abs=1e-15)
    assert (same.changes, same.entries) == (dear.changes, dear.entries)
    assert free.sleeve_return - dear.sleeve_return == pytest.approx(cost * dear.changes, abs=1e-12)
    assert dear.changes == 2 * dear.entries
    assert (dear.net <= free.net + 1e-15).all()


def test_a_product_that_began_later_takes_no_share_before() -> None:
    present = np.asarray([[True] * 4, [False, False, True, True]])
    market = Market(np.where(present, 0.1, 0.0), present, YEAR)
    assert simulate(buy_and_hold(market), market, 0.0).net == pytest.approx([0.1] * 4)


def test_a_gap_is_earned_when_it_ends() -> None:
    candles = synthetic(1, 80)["BTC-USD"]
    grid = clean({"BTC-USD": candles.take(np.r_[0:20, 40:80])}, 3600, "BTC-USD")
    gain = market_of(grid).gain[0]
    assert np.prod(1.0 + gain[:-2]) == pytest.approx(candles.open[-1] / candles.open[1])


def test_moving_averages_compare_the_means_themselves() -> None:
    candles = synthetic(1, 600)
    grid = clean(candles, 3600, "BTC-USD")
    held = moving_averages(grid_stage(grid).values)[0]
    close = candles["BTC-USD"].close
    for bar in range(360, 600, 7):
        assert held[bar] == float(close[bar - 19 : bar + 1].mean() > close[bar - 49 : bar + 1].mean())


def test_random_timing_is_beaten_by_foresight_and_not_by_itself() -> None:
    rng = np.random.default_rng(3)
    gain = rng.normal(0.0, 0.01, (3, 800))
    market = market_of_gains(gain)
    edge = np.sign(gain)
    for knowing, least, most in ((edge, 1.0, 1.0), (np.roll(edge, 37, axis=1), 0.02, 0.98)):
        trades = traded(knowing, np.ones(gain.shape), 0.0, np.full(800, 0.5), np.full(800, 0.5))
        total = statistics(simulate_trades(trades, market, Costs.per_side(0.0)), market).total_return
        assert least <= random_entries(trades, market, 0.0, total, 1).beaten_ratio <= most


def test_turning_keeps_what_is_held_and_what_it_costs() -> None:
    """Wherever a series is turned to, a whole market loses the same costs and is held as long."""
    market = market_of_gains(np.zeros((2, 60)))
    held = np.random.default_rng(9).random((2, 60)) < 0.4
    held[:, -1] = False
    trades = traded(np.where(held, 1.0, -1.0), np.ones(held.shape), 0.0, np.full(60, 0.5), np.full(60, 0.5))
    for offset in range(60):
        turned = turned_by(trades, np.asarray([offset, 0]), market.present)
        assert (turned.held == np.stack([np.roll(held[0], offset), held[1]])).all()
        cut = held[0, (-offset) % 60] and held[0, (-offset - 1) % 60]
        assert len(turned) == len(trades) + cut


def test_bootstrap_interval_covers_the_true_total() -> None:
    """Nine of ten intervals of dependent returns hold the true mean; 200 of them, within five standard errors."""
    rng = np.random.default_rng(4)
    held = 0
    for seed in range(200):
        shocks = rng.normal(0.0, 1.0, 4_024)
        series = np.convolve(shocks, np.ones(25), "valid")
        low, high = interval_90(series, seed)
        held += low <= 0.0 <= high
    assert 200 * 0.9 - 5 * np.sqrt(200 * 0.09) < held <= 200


def test_bootstrap_draws_are_paired_and_sum_whole_blocks() -> None:
    series = np.random.default_rng(5).normal(0.0, 1.0, (1, 1_000))
    both = block_totals(np.concatenate([series, 2.0 * series]), np.random.default_rng(6))
    assert both[1] == pytest.approx(2.0 * both[0])
    ones = block_totals(np.ones((1, 1_000)), np.random.default_rng(6))
    assert (ones == 6 * 168).all()


def test_deflated_sharpe_falls_with_every_further_trial() -> None:
    """The expected best of N standard normals, and the published formula, by other means."""
    rng = np.random.default_rng(7)
    spread = norm.ppf(np.linspace(0.025, 0.975, 20))
    simulated = rng.normal(0.0, 0.3, (20_000, 20)).max(axis=1).mean()
    assert expected_best(0.3 * spread / np.std(spread, ddof=1)) == pytest.approx(simulated, abs=0.03)
    returns = rng.normal(0.0002, 0.01, 20_000)
    few, many = (deflated_sharpe(returns, list(np.linspace(-1.0, 1.0, number)), YEAR) for number in (3, 30))
    assert few.sharpe == pytest.approx(sharpe_ratio(returns, YEAR))
    assert many.expected_best_by_luck > few.expected_best_by_luck > 0.0
    assert 0.0 < many.probability < few.probability < 1.0
    alone = deflated_sharpe(returns, [few.sharpe], YEAR)
    assert alone.probability == pytest.approx(norm.cdf(few.sharpe / np.sqrt(YEAR) * np.sqrt(20_000)), abs=0.01)
    assert deflated_sharpe(np.zeros(100), [0.0, 0.0], YEAR).probability == 0.0


def test_drift_is_nothing_for_equal_rows_and_grows_with_a_shift() -> None:
    rng = np.random.default_rng(8)
    before = rng.normal(0.0, 1.0, 20_000)
    same, near, far = (stability_index(before, rng.normal(shift, 1.0, 20_000)) for shift in (0.0, 0.3, 1.0))
    assert same < 0.01 < near < 0.25 < far
    assert stability_index(np.zeros(100), np.zeros(50)) == 0.0
    rows_ = rng.normal(0.0, 1.0, (500, 51))
    assert len(drift(rows_, rows_)) == len(DRIFT_FEATURES) == 47
    assert "hour_sin" not in DRIFT_FEATURES


def test_uniqueness_is_one_alone_and_shared_where_labels_overlap() -> None:
    lives = np.asarray([[4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]])
    used = np.zeros((1, 12), dtype=np.bool_)
    used[0, [0, 2, 7]] = True
    # Label 0 lives in bars 1..4, label 2 in 3..6, label 7 alone in 8..11.
    assert average_uniqueness(lives, used)[0, [0, 2, 7]] == pytest.approx([0.75, 0.75, 1.0])
    assert average_uniqueness(lives, used)[0, 1] == 0.0


def test_lives_end_at_the_first_touch() -> None:
    table = learning_table(synthetic(2, 900), 3600, "BTC-USD", LabelRule(fee_ratio=0.0005))
    high, low, close = (np.log(each) for each in (table.grid.high, table.grid.low, table.grid.close))
    for row in range(2):
        for bar in range(360, 860, 11):
            ahead = slice(bar + 1, bar + 25)
            touched = (high[row, ahead] >= close[row, bar] + table.barrier[row, bar]) | (
                low[row, ahead] <= close[row, bar] - table.barrier[row, bar]
            )
            assert table.lives[row, bar] == (touched.argmax() + 1 if touched.any() else 24)


def test_old_rows_fade_by_half_within_the_half_life() -> None:
    assert time_decay(np.asarray([0.0, 365.0, 730.0]), 365.0) == pytest.approx([1.0, 0.5, 0.25])
