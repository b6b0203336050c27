"""Stored candles as columns by product, for those who read a whole series: training."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from svc_signal.candles import CandleArrays


class CandleRow(NamedTuple):
    """One stored candle; `start` in unix seconds, prices in quote currency, volume in base units."""

    product_id: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    sequence: int


class CandleWindow:
    """Candles of a set of products from a first time on."""

    def __init__(self, products: Sequence[str]) -> None:
        self._rows: dict[str, dict[int, CandleRow]] = {product: {} for product in products}

    def load(self, rows: Iterable[CandleRow], first: int) -> None:
        """Takes the candles that open at `first` or later, in place of what was here."""
        for held in self._rows.values():
            held.clear()
        for row in rows:
            if row.start >= first:
                self._rows[row.product_id][row.start] = row

    def arrays(self, first: int, last: int) -> dict[str, CandleArrays]:
        """Candles that open in [first, last], oldest first, by product."""
        return {product: _columns(held, first, last) for product, held in self._rows.items()}


def _columns(held: dict[int, CandleRow], first: int, last: int) -> CandleArrays:
    rows = [held[start] for start in sorted(held) if first <= start <= last]
    table = np.array([row[2:7] for row in rows], dtype=np.float64).reshape(-1, 5)
    starts = np.array([row.start for row in rows], dtype=np.int64)
    return CandleArrays(starts, *(table[:, column].copy() for column in range(5)))
