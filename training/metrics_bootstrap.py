"""How sure a total of dependent returns is: circular block bootstrap (Politis and Romano 1992).

Blocks of a week keep the dependence between neighbouring hours; every series is drawn with the same blocks, so
that a difference of two of them is a paired one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelkit.candles import FloatArray

BLOCK_BARS: Final = 168
DRAWS: Final = 1_000


def block_totals(series: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(K, T) returns to (K, draws) totals of as many bars, made of circular blocks drawn with replacement."""
    bars = series.shape[1]
    block = min(BLOCK_BARS, bars)
    wrapped = np.concatenate([series, series[:, : block - 1]], axis=1)
    running = np.cumsum(np.concatenate([np.zeros((len(series), 1)), wrapped], axis=1), axis=1)
    block_sums = running[:, block:] - running[:, :-block]
    starts = rng.integers(0, bars, size=(DRAWS, -(-bars // block)))
    return np.asarray(block_sums[:, starts].sum(axis=2))


def interval_90(difference: FloatArray, seed: int) -> tuple[float, float]:
    """5 % and 95 % quantile of the total of one series of differences."""
    totals = block_totals(difference[None, :], np.random.default_rng(seed))[0]
    low, high = np.quantile(totals, (0.05, 0.95))
    return float(low), float(high)
