"""The cleaning rules of `features.cleaning`, one bar at a time for all products: what a missing candle becomes."""

from __future__ import annotations

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.features.anchors import first_needed_bar
from modelkit.features.definition import MAX_FILL, SPARSE_SHARE, SPARSE_WINDOW
from modelkit.features.engine_windows import StateArrays

_NEVER = np.iinfo(np.int64).min // 2


class LiveCleaning:
    """When each product last had a real candle, and which of the last 168 bars were filled."""

    def __init__(self, products: int) -> None:
        self.last_candle: IntArray = np.full(products, _NEVER)
        self.newest = np.full((5, products), np.nan)
        """The candle of the newest bar as it came; NaN where that bar had none."""
        self._filled: BoolArray = np.zeros((SPARSE_WINDOW, products), dtype=np.bool_)
        self._filled_count: IntArray = np.zeros(products, dtype=np.int64)

    def take(self, bar: int, candles: FloatArray, last_close: FloatArray) -> tuple[FloatArray, int]:
        """(open, high, low, close, volume of every product, how many were filled), from candles (5, P) or NaN."""
        self.newest = candles
        missing = np.isnan(candles[3])
        values, filled = candles, None
        if missing.any():
            filled = missing & (bar - self.last_candle <= MAX_FILL)
            values = candles.copy()
            values[:4, filled] = last_close[filled]
            values[4, filled] = 0.0
            self.last_candle = np.where(missing, self.last_candle, bar)
        else:
            self.last_candle.fill(bar)
        return values, self._note(bar, filled)

    def sparse(self) -> BoolArray:
        return np.asarray(self._filled_count > SPARSE_SHARE * SPARSE_WINDOW)

    def bars_since_candle(self, bar: int) -> IntArray:
        """Counted from the oldest bar that can matter, however long ago the last candle was."""
        return np.asarray(bar - np.maximum(self.last_candle, first_needed_bar(bar) - 1))

    def arrays(self) -> StateArrays:
        yield "last_candle", self.last_candle
        yield "newest", self.newest
        yield "filled", self._filled
        yield "filled_count", self._filled_count

    def _note(self, bar: int, filled: BoolArray | None) -> int:
        row = self._filled[bar % SPARSE_WINDOW]
        self._filled_count -= row
        row[...] = False if filled is None else filled
        self._filled_count += row
        return 0 if filled is None else int(np.count_nonzero(filled))
