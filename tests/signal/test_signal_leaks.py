"""The harness can see a leak, and sees none where there is none: four experiments through the training's own code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelkit.candles import CandleArrays, IntArray
from modelkit.decision import Thresholds
from modelkit.labels import NO_LABEL, LabelRule, Outcome
from modelkit.metrics import auc_up_down
from tests.signal.signal_series import walk
from training.backtest import Costs, simulate_trades
from training.fit import LearningTable, learning_table
from training.report.decisions import Span, traded
from training.settings import EstimatorSettings
from training.walkforward import Run, answers_of, assemble
from training.walkforward_candidates import Candidate, Rule
from training.walkforward_parallel import Workers
from training.walkforward_plan import Fold

CHEAP = LabelRule(fee_ratio=0.0, slippage_ratio=0.0, margin_ratio=0.0)
SMALL = Candidate(
    "trees", "small", EstimatorSettings(iterations=20, leaves=8, rows_per_leaf=60, bins=8), balanced=False
)
LOW = Rule("low", Thresholds(0.02, 0.02))
PRODUCTS, BARS = 6, 5200
FOLDS = (Fold(1, 350, 2576, 2600, 3900), Fold(2, 1650, 3876, 3900, BARS))


def market(drift_deviation: float, seed: int) -> dict[str, CandleArrays]:
    """Products of one volatility; `drift_deviation` is of a hidden trend with a memory of two days, in deviations
    of one bar. At zero they are random walks."""
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(PRODUCTS):
        shocks = rng.normal(0.0, 1.0, BARS)
        trend = np.zeros(BARS)
        memory = np.exp(-1 / 48)
        for bar in range(1, BARS):
            trend[bar] = memory * trend[bar - 1] + np.sqrt(1 - memory**2) * shocks[bar]
        returns = 0.006 * (drift_deviation * trend + rng.normal(0.0, 1.0, BARS))
        name = "BTC-USD" if number == 0 else f"C{number:02d}-USD"
        found[name] = walk(returns, rng, 100.0)
    return found


@pytest.fixture(scope="module")
def random_walk() -> LearningTable:
    return learning_table(market(0.0, seed=5), 3600, "BTC-USD", CHEAP)


@pytest.fixture(scope="module")
def trending() -> LearningTable:
    return learning_table(market(0.15, seed=6), 3600, "BTC-USD", CHEAP)


@pytest.fixture(scope="module")
def honest_walk(random_walk: LearningTable) -> Run:
    return run(random_walk)


def run(table: LearningTable) -> Run:
    answers = answers_of(table, FOLDS, (SMALL,), 51, Workers(), lambda done, of: None)
    return assemble(table, FOLDS, SMALL, answers, (), 51)


def auc(found: Run, labels: IntArray) -> float:
    known = np.isfinite(found.edge) & (labels != NO_LABEL)
    ranked = auc_up_down(found.edge[known], labels[known])
    assert ranked is not None
    return ranked


def moved(table: LearningTable, bars: int) -> LearningTable:
    """Features of `bars` earlier (positive) or later (negative) on every row."""
    values = np.roll(table.values, bars, axis=2)
    ready = np.roll(table.ready, bars, axis=1) & table.ready
    return replace(table, values=values, ready=ready, labels=np.where(ready, table.labels, NO_LABEL))


def months(table: LearningTable) -> IntArray:
    return np.asarray(np.arange(table.grid.bars) // 730)


def test_shuffled_labels_cannot_be_ranked(trending: LearningTable) -> None:
    """Within product and month, so that each stretch keeps its shares. The shares themselves go with the month's
    trend, which features see, so ranking is judged within product and month too."""
    rng = np.random.default_rng(8)
    shuffled = trending.labels.copy()
    strata = [(row, trending_month(trending, row, month)) for row in range(PRODUCTS) for month in range(8)]
    for row, inside in strata:
        shuffled[row, inside] = rng.permutation(shuffled[row, inside])
    table = replace(trending, labels=shuffled)
    found = run(table)
    pairs, wins = 0.0, 0.0
    for row, inside in strata:
        edge, labels = found.edge[row, inside], shuffled[row, inside]
        known = np.isfinite(edge)
        ranked = auc_up_down(edge[known], labels[known])
        if ranked is not None:
            weight = float(np.sum(labels[known] == Outcome.UP)) * float(np.sum(labels[known] == Outcome.DOWN))
            pairs, wins = pairs + weight, wins + weight * ranked
    assert pairs > 500_000
    assert wins / pairs == pytest.approx(0.5, abs=0.02)
    assert auc(run(trending), trending.labels) > 0.54  # the same rows with their own labels can be ranked


def trending_month(table: LearningTable, row: int, month: int) -> IntArray:
    return np.flatnonzero((months(table) == month) & (table.labels[row] != NO_LABEL))


def test_features_of_one_bar_earlier_cost_little(trending: LearningTable) -> None:
    now, late = auc(run(trending), trending.labels), auc(run(moved(trending, 1)), trending.labels)
    assert now > 0.54
    assert now - late < 0.02


def test_features_of_one_bar_later_are_seen_as_a_leak(random_walk: LearningTable, honest_walk: Run) -> None:
    leaking = run(moved(random_walk, -1))
    assert auc(leaking, random_walk.labels) > auc(honest_walk, random_walk.labels) + 0.05
    assert gross(random_walk, leaking) > 1.0  # the next bar's move is known when its open is paid


def test_a_random_walk_has_no_edge_and_loses_its_costs(random_walk: LearningTable, honest_walk: Run) -> None:
    assert auc(honest_walk, random_walk.labels) == pytest.approx(0.5, abs=0.03)
    span = span_of(random_walk)
    trades = span.trade(span.calls(honest_walk, LOW, 0.0))
    free, dear = (simulate_trades(trades, span.market, Costs.per_side(cost)) for cost in (0.0, 0.002))
    # Six sleeves of 0.6 % an hour: the mean of this many bars stays within three standard errors of nothing.
    error = float(np.std(free.net)) * np.sqrt(len(free.net))
    assert abs(free.net.sum()) < 3.0 * error
    assert dear.changes > 200
    assert (free.net - dear.net).sum() == pytest.approx(0.002 * dear.changes / PRODUCTS)
    assert dear.net.sum() < 0.0


def gross(table: LearningTable, found: Run) -> float:
    return float(np.prod(1.0 + traded(span_of(table), found, LOW, 0.0).outcomes.net) - 1.0)


def span_of(table: LearningTable) -> Span:
    return Span(table, table.entries, FOLDS[0].test_begin, FOLDS[-1].test_end)
