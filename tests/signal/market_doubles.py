"""Markets made by hand: bars as a walk of prices, and entries that nothing but a SELL ends."""

from __future__ import annotations

import numpy as np

from modelkit.candles import CandleArrays, FloatArray
from modelkit.features.cleaning import Grid, clean
from training.backtest import Market
from training.exits import NEVER, Entries, Exit

YEAR = 8760.0
HOUR = 3600


def market_of_gains(gain: FloatArray) -> Market:
    """Simple returns from open to open, (P, T), of products that are there throughout."""
    return Market(gain, np.ones(gain.shape, dtype=np.bool_), YEAR)


def without_exits(shape: tuple[int, int]) -> Entries:
    """All filled at the next open, and held until a SELL."""
    ones = np.ones(shape)
    return Entries(ones > 0.0, ones, np.full(shape, NEVER), np.full(shape, int(Exit.END)), ones)


def grid_of(*bars: tuple[float, float, float, float] | None) -> Grid:
    """One product's bars as (open, high, low, close); None for a bar without a candle."""
    there = [number for number, bar in enumerate(bars) if bar is not None]
    rows = np.asarray([bars[number] for number in there], dtype=np.float64)
    start = (np.asarray(there, dtype=np.int64) + 1000) * HOUR
    candles = CandleArrays(start, *rows.T, np.ones(len(there)))
    return clean({"BTC-USD": candles}, HOUR, "BTC-USD", 1000, 1000 + len(bars) - 1)
