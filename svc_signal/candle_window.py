"""The candles that the next bars need, kept in memory between bars and fed by their sequence.

Only a cache: it holds what the table holds, so a process that starts anew decides the same. A late or corrected candle
arrives by its sequence like any other and takes its place by its time.
"""

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
    """Candles of a set of products from a moving first time on."""

    def __init__(self, products: Sequence[str]) -> None:
        self._rows: dict[str, dict[int, CandleRow]] = {product: {} for product in products}
        self.first: int | None = None
        self.sequence = 0

    def load(self, rows: Iterable[CandleRow], first: int, sequence: int) -> None:
        """Starts anew with everything stored from `first` on, as of a sequence."""
        for held in self._rows.values():
            held.clear()
        self.first, self.sequence = first, sequence
        self.add(rows)

    def add(self, rows: Iterable[CandleRow]) -> None:
        """Takes newly stored candles."""
        for row in rows:
            self.sequence = max(self.sequence, row.sequence)
            if self.first is not None and row.start >= self.first:
                self._rows[row.product_id][row.start] = row

    def covers(self, first: int) -> bool:
        """True if everything from `first` on is here."""
        return self.first is not None and self.first <= first

    def forget_before(self, first: int) -> None:
        """Lets go of what no bar needs any more."""
        if self.first is None or first <= self.first:
            return
        self.first = first
        for product, held in self._rows.items():
            self._rows[product] = {start: row for start, row in held.items() if start >= first}

    def arrays(self, first: int, last: int) -> dict[str, CandleArrays]:
        """Candles that open in [first, last], oldest first, by product."""
        return {product: _columns(held, first, last) for product, held in self._rows.items()}


def _columns(held: dict[int, CandleRow], first: int, last: int) -> CandleArrays:
    rows = [held[start] for start in sorted(held) if first <= start <= last]
    table = np.array([row[2:7] for row in rows], dtype=np.float64).reshape(-1, 5)
    starts = np.array([row.start for row in rows], dtype=np.int64)
    return CandleArrays(starts, *(table[:, column].copy() for column in range(5)))
