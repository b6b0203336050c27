"""Windows of the bar-by-bar engine: the same block sums as `features.windows`, one bar at a time.

Time is the first axis, the product the last, so a bar touches contiguous rows. A window is the suffix of the block
before plus the prefix of the current one; suffixes are rebuilt once per block, which is O(1) per bar in the width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svc_signal.candles import FloatArray
from svc_signal.features.windows import merge_moments, merge_slopes, neutral

StateArrays = Iterator[tuple[str, NDArray[Any]]]
"""Names and arrays of a state, the product as last axis; always in the same order."""


def copy_columns(mine: StateArrays, theirs: StateArrays, source: Sequence[int], target: Sequence[int]) -> None:
    """Writes the `source` products of one state into the `target` places of another."""
    for (_, array), (_, given) in zip(mine, theirs, strict=True):
        array[..., target] = given[..., source]


class BlockWindow:
    """K series of one width. Write the bar's values into `slot(bar)`, then call `push(bar)` for the K window results.

    What `push` returns is overwritten by the next one.
    """

    __slots__ = ("_neutral", "_ufunc", "buffer", "prefix", "suffix", "total", "width")

    def __init__(self, width: int, series: int, products: int, ufunc: np.ufunc = np.add) -> None:
        self.width = width
        self._ufunc = ufunc
        self.buffer = np.full((width, series, products), np.nan)
        self.suffix = np.full((width, series, products), np.nan)
        self.suffix[-1] = neutral(ufunc)
        self.prefix = np.full((series, products), np.nan)
        self.total = np.empty((series, products))

    def slot(self, bar: int) -> FloatArray:
        return np.asarray(self.buffer[bar % self.width])

    def push(self, bar: int) -> FloatArray:
        within = bar % self.width
        if within == 0:
            self.prefix[...] = self.buffer[0]
        else:
            self._ufunc(self.prefix, self.buffer[within], out=self.prefix)
        self._ufunc(self.suffix[within], self.prefix, out=self.total)
        if within == self.width - 1:
            self._close_block()
        return self.total

    def parts(self, bar: int) -> tuple[FloatArray, FloatArray]:
        """(suffix of the previous block, prefix of the current one) of the bar just pushed."""
        return self.suffix[bar % self.width], self.prefix

    def arrays(self) -> StateArrays:
        yield "buffer", self.buffer
        yield "suffix", self.suffix
        yield "prefix", self.prefix

    def _close_block(self) -> None:
        """Row j becomes the sum of the bars after j; the last row stays neutral and is in use by `parts`."""
        np.copyto(self.suffix[-2], self.buffer[-1])
        for row in range(self.width - 3, -1, -1):
            self._ufunc(self.suffix[row + 1], self.buffer[row + 1], out=self.suffix[row])


class MomentWindow:
    """Centred sum of squares over a window of prices; both blocks are shifted by their first value."""

    __slots__ = ("_shifts", "_sums")

    def __init__(self, width: int, products: int) -> None:
        self._sums = BlockWindow(width, 2, products)
        self._shifts = np.full((2, products), np.nan)
        """First value of the previous block and of the current one."""

    def push(self, bar: int, x: FloatArray) -> FloatArray:
        width = self._sums.width
        within = bar % width
        if within == 0:
            self._shifts[0] = self._shifts[1]
            self._shifts[1] = x
        shifted, square = self._sums.slot(bar)
        np.subtract(x, self._shifts[1], out=shifted)
        np.multiply(shifted, shifted, out=square)
        self._sums.push(bar)
        suffix, prefix = self._sums.parts(bar)
        older, newer = np.float64(width - within - 1.0), np.float64(within + 1.0)
        return merge_moments(older, self._shifts[0], suffix[0], suffix[1], newer, self._shifts[1], prefix[0], prefix[1])

    def arrays(self) -> StateArrays:
        yield from self._sums.arrays()
        yield "shifts", self._shifts


class AgeWindow:
    """Bars since the largest value of each window, for two series at once; of equal ones the newest counts.

    Blocks again, with the bar of each extreme carried along, so no product ever needs a search of its own.
    """

    __slots__ = ("_ages", "_best", "_best_bar", "_buffer", "_suffix", "_suffix_bar", "_width", "_work")

    def __init__(self, width: int, products: int) -> None:
        self._width = width
        self._buffer = np.full((width, 2, products), np.nan)
        self._suffix = np.full((width, 2, products), np.nan)
        self._suffix[-1] = -np.inf
        self._suffix_bar = np.zeros((width, 2, products))
        self._best = np.full((2, products), np.nan)
        self._best_bar = np.full((2, products), np.nan)
        self._ages = np.empty((2, products))
        self._work = np.empty((2, products))

    def push(self, bar: int, x: FloatArray) -> FloatArray:
        """Ages (2, P) of the largest of each; overwritten by the next push."""
        within = bar % self._width
        self._buffer[within] = x
        if within == 0:
            self._best[...] = x
            self._best_bar.fill(bar)
        else:
            np.multiply(x >= self._best, float(bar), out=self._work)  # a masked copy would cost several times that
            np.maximum(self._best_bar, self._work, out=self._best_bar)
            np.maximum(self._best, x, out=self._best)
        np.subtract(self._best_bar, self._suffix_bar[within], out=self._work)
        self._work *= self._suffix[within] > self._best
        np.subtract(float(bar), self._best_bar, out=self._ages)
        self._ages += self._work
        if within == self._width - 1:
            self._close_block(bar)
        return self._ages

    def arrays(self) -> StateArrays:
        yield "buffer", self._buffer
        yield "suffix", self._suffix
        yield "suffix_bar", self._suffix_bar
        yield "best", self._best
        yield "best_bar", self._best_bar

    def _close_block(self, bar: int) -> None:
        last = self._width - 1
        self._suffix[last - 1] = self._buffer[last]
        self._suffix_bar[last - 1] = bar
        for row in range(last - 2, -1, -1):
            candidate, newer = self._buffer[row + 1], self._suffix[row + 1]
            np.maximum(candidate, newer, out=self._suffix[row])
            np.copyto(self._suffix_bar[row], self._suffix_bar[row + 1])
            np.copyto(self._suffix_bar[row], bar - last + row + 1, where=candidate > newer)


def slope(window: BlockWindow, bar: int, plain: int, indexed: int) -> FloatArray:
    """Least-squares slope from the series y and (position in block)*y of a window just pushed."""
    suffix, prefix = window.parts(bar)
    within = np.float64(bar % window.width)
    return merge_slopes(window.width, within, suffix[plain], suffix[indexed], prefix[plain], prefix[indexed])
