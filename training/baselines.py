"""What anybody could have done without a model: the measures that stand beside it in every table.

All of them trade on the same bars and at the same costs as the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.features.definition import NAMES
from training.backtest import Costs, Market, simulate_trades
from training.exits import Exit
from training.trades import Trades

RANDOM_DRAWS: Final = 200
_SMA_20, _SMA_50 = NAMES.index("sma_dist_20"), NAMES.index("sma_dist_50")


@dataclass(frozen=True, slots=True)
class RandomEntries:
    """Total net returns of as many random timings; `beaten_ratio` is the share of them that the model beat."""

    draws: int
    median: float
    quantile_05: float
    quantile_95: float
    beaten_ratio: float


def buy_and_hold(market: Market, weight: float = 1.0) -> FloatArray:
    """Always in the market, with this share of each sleeve."""
    return np.full(market.gain.shape, weight)


def moving_averages(values: FloatArray) -> FloatArray:
    """Long while the 20-bar mean of closes is above the 50-bar mean; from features (51, P, T).

    Both features are close / mean - 1, so the higher mean has the lower distance.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray((values[_SMA_20] < values[_SMA_50]).astype(np.float64))


def random_entries(
    trades: Trades, market: Market, cost_per_side: float, model_return: float, seed: int
) -> RandomEntries:
    """The model's own trades at random times: each product's series of them is turned round by a random offset.

    That keeps exposure, turnover and holding times, and takes away only the timing: bought and sold at opens.
    """
    rng = np.random.default_rng(seed)
    totals = []
    for _ in range(RANDOM_DRAWS):
        turned = turned_by(trades, rng.integers(0, trades.bars, trades.rows), market.present)
        net = simulate_trades(turned, market, Costs.per_side(cost_per_side)).net
        totals.append(float(np.prod(1.0 + net) - 1.0))
    low, middle, high = np.quantile(totals, (0.05, 0.5, 0.95))
    beaten = float(np.mean(np.asarray(totals) < model_return))
    return RandomEntries(RANDOM_DRAWS, float(middle), float(low), float(high), beaten)


def turned_by(trades: Trades, offsets: IntArray, present: BoolArray) -> Trades:
    """Each row later by its offset; what leaves at the end comes in at the beginning, and only what lies in the market stays."""
    begin = (trades.begin + offsets[trades.row]) % trades.bars
    end = begin + trades.end - trades.begin
    over = end > trades.bars
    row = np.concatenate([trades.row, trades.row[over]])
    first, last = present.argmax(axis=1), trades.bars - present[:, ::-1].argmax(axis=1)
    begin = np.maximum(np.concatenate([begin, np.zeros_like(end[over])]), first[row])
    end = np.minimum(np.concatenate([np.minimum(end, trades.bars), end[over] - trades.bars]), last[row])
    there: BoolArray = np.asarray(present.any(axis=1))
    some = (begin < end) & there[row]
    ones = np.ones(int(some.sum()))
    sold = np.full(len(ones), int(Exit.SELL))
    return Trades(trades.rows, trades.bars, row[some], begin[some], end[some], sold, ones, ones)
