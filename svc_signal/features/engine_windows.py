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
from svc_signal.features.memory import aligned
from svc_signal.features.windows import merge_moments, merge_slopes, neutral

StateArrays = Iterator[tuple[str, NDArray[Any]]]
"""Names and arrays of a state, the product as last axis; always in the same order."""


def copy_columns(mine: StateArrays, theirs: StateArrays, source: Sequence[int], target: Sequence[int]) -> None:
    """Writes the `source` products of one state into the `target` places of another."""
    for (_, array), (_, given) in zip(mine, theirs, strict=True):
        array[..., target] = given[..., source]


class BlockWindow:
    """Window results of the series that `sources` names, each a ring of bars and a slice of its rows.

    Rings are (bars, series, products) with bar b in row b % bars and hold at least one width. Only the first `shown`
    series have results; of the others the parts are read. Rows are looked up once, here: that costs as much as adding.
    """

    __slots__ = ("_older", "_shown", "_sources", "_ufunc", "prefix", "suffix", "width")

    def __init__(
        self,
        width: int,
        sources: Sequence[tuple[FloatArray, slice]],
        ufunc: np.ufunc = np.add,
        shown: int | None = None,
    ) -> None:
        self.width = width
        self._ufunc = ufunc
        counts = [rows.stop - rows.start for _, rows in sources]
        products = sources[0][0].shape[-1]
        self.suffix = aligned(width, sum(counts), products, fill=np.nan)
        self.suffix[-1] = neutral(ufunc)
        self.prefix = aligned(sum(counts), products, fill=np.nan)
        self._older, self._shown = list(self.suffix[:, :shown]), self.prefix[:shown]
        self._sources = []
        for number, (ring, rows) in enumerate(sources):
            place = slice(sum(counts[:number]), sum(counts[: number + 1]))
            self._sources.append((list(ring[:, rows]), self.prefix[place], list(self.suffix[:, place])))

    def push(self, bar: int, out: FloatArray) -> None:
        """Takes bar `bar` from the rings and writes the results."""
        within, ufunc = bar % self.width, self._ufunc
        for ring, prefix, _ in self._sources:
            if within == 0:
                prefix[...] = ring[bar % len(ring)]
            else:
                ufunc(prefix, ring[bar % len(ring)], out=prefix)
        ufunc(self._older[within], self._shown, out=out)
        if within == self.width - 1:
            self._close_block(bar)

    def parts(self, bar: int) -> tuple[FloatArray, FloatArray]:
        """(suffix of the previous block, prefix of the current one) of the bar just pushed."""
        return self.suffix[bar % self.width], self.prefix

    def arrays(self) -> StateArrays:
        yield "suffix", self.suffix
        yield "prefix", self.prefix

    def _close_block(self, bar: int) -> None:
        """Row j becomes the sum of the bars after j; the last row stays neutral and is in use by `parts`."""
        for ring, _, suffix in self._sources:
            suffix[-2][...] = ring[bar % len(ring)]
            for back in range(1, self.width - 1):
                self._ufunc(suffix[-1 - back], ring[(bar - back) % len(ring)], out=suffix[-2 - back])


class Shifts:
    """What the centred squares of prices are shifted by: the first value of the previous block and of the current one."""

    __slots__ = ("_shifts", "_width")

    def __init__(self, width: int, products: int) -> None:
        self._width = width
        self._shifts = aligned(2, products, fill=np.nan)

    def take(self, bar: int, x: FloatArray, shifted: FloatArray) -> None:
        """Writes the shifted values and their squares (2, P)."""
        if bar % self._width == 0:
            self._shifts[0] = self._shifts[1]
            self._shifts[1] = x
        np.subtract(x, self._shifts[1], shifted[0])
        np.multiply(shifted[0], shifted[0], shifted[1])

    def moment(self, bar: int, window: BlockWindow, shifted: int) -> FloatArray:
        """Centred sum of squares over a window just pushed, whose series `shifted` and the next one `take` wrote."""
        within = bar % self._width
        suffix, prefix = window.parts(bar)
        older, newer = self._width - within - 1.0, within + 1.0
        (old, old_square), (new, new_square) = suffix[shifted : shifted + 2], prefix[shifted : shifted + 2]
        return merge_moments(older, self._shifts[0], old, old_square, newer, self._shifts[1], new, new_square)

    def arrays(self) -> StateArrays:
        yield "shifts", self._shifts


class AgeWindow:
    """Bars since the largest value of each window, for two series of a ring at once; of equal ones the newest counts.

    Blocks again, with the bar of each extreme carried along, so no product ever needs a search of its own.
    """

    __slots__ = ("_ages", "_best", "_best_bar", "_ring", "_rows", "_suffix", "_suffix_bar", "_width", "_work")

    def __init__(self, width: int, ring: FloatArray, rows: slice) -> None:
        products = ring.shape[-1]
        self._width = width
        self._ring = ring
        self._rows = rows
        self._suffix = aligned(width, 2, products, fill=np.nan)
        self._suffix[-1] = -np.inf
        self._suffix_bar = aligned(width, 2, products, fill=0.0)
        self._best = aligned(2, products, fill=np.nan)
        self._best_bar = aligned(2, products, fill=np.nan)
        self._ages = aligned(2, products)
        self._work = aligned(2, products)

    def push(self, bar: int) -> FloatArray:
        """Ages (2, P) of the largest of each; overwritten by the next push."""
        within = bar % self._width
        x = self._ring[bar % len(self._ring), self._rows]
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
        yield "suffix", self._suffix
        yield "suffix_bar", self._suffix_bar
        yield "best", self._best
        yield "best_bar", self._best_bar

    def _close_block(self, bar: int) -> None:
        last = self._width - 1
        self._suffix[last - 1] = self._ring[bar % len(self._ring), self._rows]
        self._suffix_bar[last - 1] = bar
        for row in range(last - 2, -1, -1):
            candidate = self._ring[(bar - last + row + 1) % len(self._ring), self._rows]
            newer = self._suffix[row + 1]
            np.maximum(candidate, newer, out=self._suffix[row])
            np.copyto(self._suffix_bar[row], self._suffix_bar[row + 1])
            np.copyto(self._suffix_bar[row], bar - last + row + 1, where=candidate > newer)


def slope(window: BlockWindow, bar: int, plain: int, indexed: int, total: FloatArray, out: FloatArray) -> None:
    """Least-squares slope from the series y and (position in block)*y of a window just pushed; `total` is that of y."""
    suffix, prefix = window.parts(bar)
    within = float(bar % window.width)
    merge_slopes(window.width, within, suffix[plain], suffix[indexed], prefix[plain], prefix[indexed], total, out)
