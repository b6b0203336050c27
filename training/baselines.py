"""What anybody could have done without a model: the measures that stand beside it in every table.

All of them trade on the same bars, at the same costs and through the same simulation as the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelkit.candles import FloatArray
from modelkit.features.definition import NAMES
from training.backtest import Market, simulate

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
    positions: FloatArray, market: Market, cost_per_side: float, model_return: float, seed: int
) -> RandomEntries:
    """The model's own positions at random times: each product's series is turned round by a random offset.

    That keeps exposure, turnover and holding times, and takes away only the timing.
    """
    rng = np.random.default_rng(seed)
    bars = positions.shape[1]
    totals = []
    for _ in range(RANDOM_DRAWS):
        offsets = rng.integers(0, bars, len(positions))
        turned = np.stack([np.roll(row, offset) for row, offset in zip(positions, offsets, strict=True)])
        totals.append(float(np.prod(1.0 + simulate(turned, market, cost_per_side).net) - 1.0))
    low, middle, high = np.quantile(totals, (0.05, 0.5, 0.95))
    beaten = float(np.mean(np.asarray(totals) < model_return))
    return RandomEntries(RANDOM_DRAWS, float(middle), float(low), float(high), beaten)
