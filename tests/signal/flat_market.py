"""A market in which nothing moves."""

from __future__ import annotations

import numpy as np

from modelkit.candles import CandleArrays
from tests.signal.signal_series import FIRST_BAR, HOUR


def flat(price: float, volume: float, bars: int = 420) -> CandleArrays:
    level = np.full(bars, price)
    start = (FIRST_BAR + np.arange(bars, dtype=np.int64)) * HOUR
    return CandleArrays(start, level, level, level, level, np.full(bars, volume))
