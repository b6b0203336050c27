"""Candles of one product as columns, the form in which they enter features and training.

Nothing is checked here: order, duplicates and impossible values are judged once, in `features.cleaning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CandleArrays:
    """Columns of equal length; `start` is the open time in unix seconds, `volume` is in base units."""

    start: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.start, *self.prices(), self.volume)}
        if len(lengths) != 1:
            raise ValueError(f"candle columns differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.start)

    def prices(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.open, self.high, self.low, self.close

    def take(self, rows: IntArray | BoolArray) -> CandleArrays:
        """The candles at these positions (or under this mask), in that order."""
        return CandleArrays(
            self.start[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
        )
