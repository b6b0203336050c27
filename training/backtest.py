"""Long or flat: what a rule would have earned, decided at a bar's close and executed at the next bar's open.

Every product is a sleeve of equal weight, balanced again each bar without charge; each change of a sleeve's
position costs its share of the notional. Positions are held through bars without a decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelkit.candles import BoolArray, FloatArray
from modelkit.features.cleaning import Grid
from training.metrics_sharpe import sharpe_ratio

SECONDS_PER_YEAR: Final = 8760 * 3600


@dataclass(frozen=True, slots=True)
class Market:
    """What a position taken at the open after bar t earns until the next open: `gain` (P, T) simple returns.

    `present` is False before a product's first candle and from its last on; there it has no sleeve.
    """

    gain: FloatArray
    present: BoolArray
    bars_per_year: float

    def part(self, begin: int, end: int) -> Market:
        return Market(self.gain[:, begin:end], self.present[:, begin:end], self.bars_per_year)

    def only(self, product: int) -> Market:
        return Market(self.gain[[product]], self.present[[product]], self.bars_per_year)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Per bar: net return of the whole, and the share of it that was invested; per sleeve: changes and entries."""

    net: FloatArray
    invested: FloatArray
    changes: int
    entries: int
    sleeve_return: float


@dataclass(frozen=True, slots=True)
class BacktestStats:
    """`turnover_per_year` counts changes of position per product; `profit_per_trade` is a sleeve's, per entry."""

    total_return: float
    annual_return: float
    sharpe: float
    max_drawdown: float
    exposure: float
    turnover_per_year: float
    trades: int
    profit_per_trade: float | None


def market_of(grid: Grid) -> Market:
    """Gaps are bridged by the last open before them, so that a jump across one is earned when it ends."""
    position = np.arange(grid.bars)
    known = np.isfinite(grid.open)
    newest = np.maximum.accumulate(np.where(known, position, -1), axis=1)
    opens = np.take_along_axis(grid.open, np.maximum(newest, 0), axis=1)
    gain = np.zeros(opens.shape)
    gain[:, :-2] = opens[:, 2:] / opens[:, 1:-1] - 1.0
    first = np.where(known.any(axis=1), known.argmax(axis=1), grid.bars)
    last = grid.bars - 1 - known[:, ::-1].argmax(axis=1)
    present = (position >= first[:, None]) & (position <= last[:, None] - 2)
    return Market(np.where(present, gain, 0.0), present, SECONDS_PER_YEAR / grid.granularity)


def long_or_flat(
    edge: FloatArray, barrier: FloatArray, round_trip_cost: float, theta_buy: FloatArray, theta_sell: FloatArray
) -> FloatArray:
    """Positions 0 or 1, shaped as `edge` broadcast with the thresholds; NaN edges leave the position as it is.

    Enter at an edge of `theta_buy` whose expected move pays the round trip; leave at -`theta_sell`. Where
    `theta_buy` is out of reach (1 or more) there is no evidence, and nothing is held.
    """
    with np.errstate(invalid="ignore"):
        enter = (edge >= theta_buy) & (edge * barrier > round_trip_cost)
        leave = (edge <= -theta_sell) | (theta_buy >= 1.0)
    told = np.where(leave, 0, np.where(enter, 1, -1))
    spoken = np.where(told >= 0, np.arange(told.shape[-1]), -1)
    newest = np.maximum.accumulate(spoken, axis=-1)
    held = np.take_along_axis(told, np.maximum(newest, 0), axis=-1)
    return np.where(newest >= 0, held, 0).astype(np.float64)


def simulate(positions: FloatArray, market: Market, cost_per_side: float) -> Outcomes:
    """Positions (P, T) in [0, 1], opened from flat at the first bar and closed after a sleeve's last."""
    held = np.where(market.present, positions, 0.0)
    none = np.zeros((len(held), 1))
    change = np.where(market.present, np.abs(np.diff(held, axis=1, prepend=none)), 0.0)
    leaves = np.concatenate([market.present[:, 1:], none > 0.0], axis=1) < market.present
    closing = np.where(leaves, held, 0.0)
    sleeves = held * market.gain - cost_per_side * (change + closing)
    sharing = np.maximum(market.present.sum(axis=0), 1)
    return Outcomes(
        net=sleeves.sum(axis=0) / sharing,
        invested=held.sum(axis=0) / sharing,
        changes=int(np.count_nonzero(change) + np.count_nonzero(closing)),
        entries=int(np.count_nonzero(np.diff(held, axis=1, prepend=none) > 0.0)),
        sleeve_return=float(sleeves.sum()),
    )


def statistics(outcomes: Outcomes, market: Market) -> BacktestStats:
    """The figures of one run; the annual return compounds."""
    years = len(outcomes.net) / market.bars_per_year
    wealth = np.cumprod(1.0 + outcomes.net)
    total = float(wealth[-1] - 1.0)
    peak = np.maximum.accumulate(np.maximum(wealth, 1.0))
    sleeve_years = float(market.present.sum()) / market.bars_per_year
    return BacktestStats(
        total_return=total,
        annual_return=float((1.0 + total) ** (1.0 / years) - 1.0) if total > -1.0 else -1.0,
        sharpe=sharpe_ratio(outcomes.net, market.bars_per_year),
        max_drawdown=float(np.max(1.0 - wealth / peak)),
        exposure=float(outcomes.invested.mean()),
        turnover_per_year=outcomes.changes / sleeve_years if sleeve_years else 0.0,
        trades=outcomes.entries,
        profit_per_trade=outcomes.sleeve_return / outcomes.entries if outcomes.entries else None,
    )
