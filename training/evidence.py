"""Chooses the entry threshold a model may trade with, from held-out rows it did not learn from.

The smallest theta whose net return after the account's cost has a block-bootstrap 5 % quantile above zero. If
none has, both thresholds are 1, which no edge reaches: the model then always says HOLD, and what is held is
closed by the operator or by a model with evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelkit.candles import FloatArray, IntArray
from modelkit.decision import Thresholds
from training.backtest import Costs, Market, charges_of, gains_of
from training.exits import Entries
from training.metrics_bootstrap import block_totals
from training.trades import calls_of, trade

THETA_GRID: Final = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50)
THETA_SELL: Final = 0.10
ALWAYS_HOLD: Final = Thresholds(1.0, 1.0)
_QUANTILE = 0.05


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Out-of-sample rows on one grid of consecutive bars, (P, T) each; `edge` is NaN where there is no row.

    `barrier` is K * sigma; `market` and `entries` are what a decision at each bar comes to.
    """

    edge: FloatArray
    barrier: FloatArray
    market: Market
    entries: Entries


@dataclass(frozen=True, slots=True)
class ThetaResult:
    """Net log return of the trades at one threshold, its bootstrap 5 % quantile, and the changes of
    position."""

    theta: float
    net_return: float
    quantile_05: float
    trades: int


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    thresholds: Thresholds
    results: tuple[ThetaResult, ...]

    @property
    def has_evidence(self) -> bool:
        return self.thresholds != ALWAYS_HOLD


def choose_thresholds(held_out: HeldOut, round_trip_cost: float, seed: int) -> ThresholdChoice:
    """Evaluates the whole grid at once; every threshold sees the same bootstrap draws."""
    net, trades = _net_returns(held_out, round_trip_cost)
    quantiles = np.quantile(block_totals(net, np.random.default_rng(seed)), _QUANTILE, axis=1)
    results = tuple(
        ThetaResult(theta, float(net[row].sum()), float(quantiles[row]), int(trades[row]))
        for row, theta in enumerate(THETA_GRID)
    )
    passing = [result.theta for result in results if result.quantile_05 > 0.0]
    chosen = Thresholds(min(passing), THETA_SELL) if passing else ALWAYS_HOLD
    return ThresholdChoice(chosen, results)


def _net_returns(held_out: HeldOut, round_trip_cost: float) -> tuple[FloatArray, IntArray]:
    """(thetas, T) equal-weight net log returns, and changes of position per theta."""
    theta = np.asarray(THETA_GRID)[:, None, None]
    calls = calls_of(held_out.edge, held_out.barrier, round_trip_cost, theta, np.asarray(THETA_SELL))
    market = held_out.market
    trades = trade(calls, held_out.entries, market.present)
    charges = charges_of(trades, market, Costs.per_side(0.5 * round_trip_cost))
    net = np.log1p(gains_of(trades, market)) - charges
    changes = 2 * np.bincount(trades.row // len(held_out.edge), minlength=len(THETA_GRID))
    return net.reshape(len(THETA_GRID), *held_out.edge.shape).mean(axis=1), changes
