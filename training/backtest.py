"""What a rule would have earned, decided at a bar's close and executed at the next bar's open.

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
from training.trades import Trades

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
class Costs:
    """Shares of the notional that an entry and an exit cost, fee and slippage together."""

    entry: float
    exit: float

    @classmethod
    def per_side(cls, cost: float) -> Costs:
        return cls(cost, cost)


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


def simulate(positions: FloatArray, market: Market, cost_per_side: float) -> Outcomes:
    """Positions (P, T) in [0, 1], opened from flat at the first bar and closed after a sleeve's last."""
    held = np.where(market.present, positions, 0.0)
    none = np.zeros((len(held), 1))
    change = np.where(market.present, np.abs(np.diff(held, axis=1, prepend=none)), 0.0)
    leaves = np.concatenate([market.present[:, 1:], none > 0.0], axis=1) < market.present
    closing = np.where(leaves, held, 0.0)
    sleeves = held * market.gain - cost_per_side * (change + closing)
    return _outcomes(
        held,
        sleeves,
        market,
        changes=int(np.count_nonzero(change) + np.count_nonzero(closing)),
        entries=int(np.count_nonzero(np.diff(held, axis=1, prepend=none) > 0.0)),
    )


def simulate_trades(trades: Trades, market: Market, costs: Costs) -> Outcomes:
    """As `simulate`, of one row of trades for each product."""
    sleeves = gains_of(trades, market) - charges_of(trades, market, costs)
    return _outcomes(trades.held, sleeves, market, changes=2 * len(trades), entries=len(trades))


def _outcomes(
    held: FloatArray | BoolArray, sleeves: FloatArray, market: Market, changes: int, entries: int
) -> Outcomes:
    sharing = np.maximum(market.present.sum(axis=0), 1)
    return Outcomes(
        net=sleeves.sum(axis=0) / sharing,
        invested=held.sum(axis=0) / sharing,
        changes=changes,
        entries=entries,
        sleeve_return=float(sleeves.sum()),
    )


def gains_of(trades: Trades, market: Market) -> FloatArray:
    """(rows, T) simple returns of what the trades held, from open to open; products are the last axis of the rows."""
    products, bars = market.gain.shape
    gain = np.where(trades.held.reshape(-1, products, bars), market.gain, 0.0).reshape(-1, bars)
    inside = trades.inside
    gain[trades.row[inside], trades.end[inside] - 1] = trades.sold_to_open[inside] - 1.0
    # Paid once for each trade: no two of a row begin at the same bar.
    gain[trades.row, trades.begin] = (1.0 + gain[trades.row, trades.begin]) * trades.open_to_paid - 1.0
    return gain


def charges_of(trades: Trades, market: Market, costs: Costs) -> FloatArray:
    """(rows, T) costs, in the bar of each purchase and sale; a sleeve's last sale falls into its last bar."""
    charge = np.zeros((trades.rows, trades.bars))
    np.add.at(charge, (trades.row, trades.begin), costs.entry)
    product, last = trades.row % len(market.present), trades.bars - 1
    at_open = ~trades.inside & (trades.end <= last)
    at_open &= market.present[product, np.minimum(trades.end, last)]
    np.add.at(charge, (trades.row, np.where(at_open, trades.end, trades.end - 1)), costs.exit)
    return charge


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
