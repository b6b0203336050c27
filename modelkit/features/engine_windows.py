"""Windows of the bar-by-bar engine: the same block sums as `features.windows`, one bar at a time.

Time is the first axis, the product the last, so a bar touches contiguous rows. A window is the suffix of the block
before plus the prefix of the current one; suffixes are rebuilt once per block, which is O(1) per bar in the width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelkit.candles import FloatArray
from modelkit.features.compiled import compiled, larger
from modelkit.features.memory import aligned
from modelkit.features.windows import moment_of, slope_of, together

StateArrays = Iterator[tuple[str, NDArray[Any]]]
"""Names and arrays of a state, the product as last axis; always in the same order."""


def copy_columns(mine: StateArrays, theirs: StateArrays, source: Sequence[int], target: Sequence[int]) -> None:
    """Writes the `source` products of one state into the `target` places of another."""
    for (_, array), (_, given) in zip(mine, theirs, strict=True):
        array[..., target] = given[..., source]


class BlockWindow:
    """Window results of the series that `sources` names, each a ring of bars and a slice of its rows.

    Rings are (bars, series, products) with bar b in row b % bars and hold at least one width. Only the first `shown`
    series have results; of the others the parts are read.
    """

    __slots__ = ("_largest", "_shown", "_sources", "prefix", "suffix", "width")

    def __init__(
        self,
        width: int,
        sources: Sequence[tuple[FloatArray, slice]],
        largest: bool = False,
        shown: int | None = None,
    ) -> None:
        self.width = width
        self._largest = largest
        series, products = sum(rows.stop - rows.start for _, rows in sources), sources[0][0].shape[-1]
        self._shown = series if shown is None else shown
        self.suffix = aligned(width, series, products, fill=np.nan)
        self.suffix[-1] = -np.inf if largest else 0.0
        self.prefix = aligned(series, products, fill=np.nan)
        self._sources, first = [], 0
        for ring, rows in sources:
            self._sources.append((ring, rows.start, rows.stop - rows.start, first))
            first += rows.stop - rows.start

    def push(self, bar: int, out: FloatArray) -> None:
        """Takes bar `bar` from the rings and writes the results (shown, products)."""
        for ring, row, count, first in self._sources:
            _push(bar, ring, row, count, self.suffix, self.prefix, first, self._largest, self._shown, out)

    def arrays(self) -> StateArrays:
        yield "suffix", self.suffix
        yield "prefix", self.prefix


class Shifts:
    """What the centred squares of prices are shifted by: the first value of the previous block and of the current one."""

    __slots__ = ("_shifts", "_width")

    def __init__(self, width: int, products: int) -> None:
        self._width = width
        self._shifts = aligned(2, products, fill=np.nan)

    def take(self, bar: int, x: FloatArray, shifted: FloatArray) -> None:
        """Writes the shifted values and their squares (2, P)."""
        _shift(bar % self._width == 0, self._shifts, x, shifted)

    def moment(self, bar: int, window: BlockWindow, series: int, out: FloatArray) -> None:
        """Centred sum of squares over a window just pushed, whose `series` and the next one `take` wrote."""
        _moment(bar, self._shifts, window.suffix, window.prefix, series, out)

    def arrays(self) -> StateArrays:
        yield "shifts", self._shifts


class AgeWindow:
    """Bars since the largest value of each window, for two series of a ring at once; of equal ones the newest counts.

    Blocks again, with the bar of each extreme carried along, so no product ever needs a search of its own.
    """

    __slots__ = ("_best", "_best_bar", "_ring", "_row", "_suffix", "_suffix_bar", "_width")

    def __init__(self, width: int, ring: FloatArray, rows: slice) -> None:
        products = ring.shape[-1]
        self._width = width
        self._ring = ring
        self._row = rows.start
        self._suffix = aligned(width, 2, products, fill=np.nan)
        self._suffix[-1] = -np.inf
        self._suffix_bar = aligned(width, 2, products, fill=0.0)
        self._best = aligned(2, products, fill=np.nan)
        self._best_bar = aligned(2, products, fill=np.nan)

    def push(self, bar: int, ages: FloatArray) -> None:
        """Writes the ages (2, P) of the largest of each."""
        parts = (self._suffix, self._suffix_bar, self._best, self._best_bar)
        _push_ages(bar, self._ring, self._row, *parts, ages)

    def arrays(self) -> StateArrays:
        yield "suffix", self._suffix
        yield "suffix_bar", self._suffix_bar
        yield "best", self._best
        yield "best_bar", self._best_bar


def slope(window: BlockWindow, bar: int, plain: int, indexed: int, out: FloatArray) -> None:
    """Least-squares slope from the series y and (position in block)*y of a window just pushed."""
    _slope(bar, window.suffix, window.prefix, plain, indexed, out)


@compiled
def _push(
    bar: int,
    ring: FloatArray,
    row: int,
    count: int,
    suffix: FloatArray,
    prefix: FloatArray,
    first: int,
    largest: bool,
    shown: int,
    out: FloatArray,
) -> None:
    width, products = suffix.shape[0], suffix.shape[2]
    within = bar % width
    for series in range(first, first + count):
        x, running, older = ring[bar % len(ring), row + series - first], prefix[series], suffix[within, series]
        for p in range(products):
            running[p] = x[p] if within == 0 else together(running[p], x[p], largest)
        if series < shown:
            result = out[series]
            for p in range(products):
                result[p] = together(older[p], running[p], largest)
        if within == width - 1:
            _close_block(bar, ring, row + series - first, suffix, series, largest)


@compiled
def _close_block(bar: int, ring: FloatArray, row: int, suffix: FloatArray, series: int, largest: bool) -> None:
    """Place j becomes what the bars after j come to; the last place stays that of none."""
    width, products = suffix.shape[0], suffix.shape[2]
    for place in range(width - 1, 0, -1):
        x, into = ring[(bar - (width - 1 - place)) % len(ring), row], suffix[place - 1, series]
        newer = suffix[place, series]
        for p in range(products):
            into[p] = x[p] if place == width - 1 else together(newer[p], x[p], largest)


@compiled
def _shift(begins: bool, shifts: FloatArray, x: FloatArray, shifted: FloatArray) -> None:
    for p in range(len(x)):
        if begins:
            shifts[0, p] = shifts[1, p]
            shifts[1, p] = x[p]
        shifted[0, p] = x[p] - shifts[1, p]
        shifted[1, p] = shifted[0, p] * shifted[0, p]


@compiled
def _moment(bar: int, shifts: FloatArray, suffix: FloatArray, prefix: FloatArray, series: int, out: FloatArray) -> None:
    width = suffix.shape[0]
    within = bar % width
    old, new = suffix[within, series : series + 2], prefix[series : series + 2]
    older, newer = width - within - 1.0, within + 1.0
    for p in range(len(out)):
        out[p] = moment_of(older, shifts[0, p], old[0, p], old[1, p], newer, shifts[1, p], new[0, p], new[1, p])


@compiled
def _slope(bar: int, suffix: FloatArray, prefix: FloatArray, plain: int, indexed: int, out: FloatArray) -> None:
    width = suffix.shape[0]
    within = bar % width
    old = suffix[within]
    for p in range(len(out)):
        parts = (old[plain, p], old[indexed, p], prefix[plain, p], prefix[indexed, p])
        out[p] = slope_of(float(width), float(within), parts[0], parts[1], parts[2], parts[3])


@compiled
def _push_ages(
    bar: int,
    ring: FloatArray,
    row: int,
    suffix: FloatArray,
    suffix_bar: FloatArray,
    best: FloatArray,
    best_bar: FloatArray,
    ages: FloatArray,
) -> None:
    width, products = suffix.shape[0], suffix.shape[2]
    within, number = bar % width, float(bar)
    for side in range(2):
        x = ring[bar % len(ring), row + side]
        for p in range(products):
            if within == 0 or x[p] >= best[side, p]:
                best[side, p], best_bar[side, p] = x[p], number
            elif x[p] != x[p]:
                best[side, p] = x[p]
            older = suffix[within, side, p]
            newest = suffix_bar[within, side, p] if older > best[side, p] else best_bar[side, p]
            ages[side, p] = number - newest
        if within == width - 1:
            _close_ages(bar, ring, row + side, suffix, suffix_bar, side)


@compiled
def _close_ages(bar: int, ring: FloatArray, row: int, suffix: FloatArray, suffix_bar: FloatArray, side: int) -> None:
    width, products = suffix.shape[0], suffix.shape[2]
    for place in range(width - 1, 0, -1):
        number = bar - (width - 1 - place)
        x = ring[number % len(ring), row]
        for p in range(products):
            if place == width - 1 or x[p] > suffix[place, side, p]:
                suffix[place - 1, side, p], suffix_bar[place - 1, side, p] = x[p], float(number)
            else:
                suffix[place - 1, side, p] = larger(x[p], suffix[place, side, p])
                suffix_bar[place - 1, side, p] = suffix_bar[place, side, p]
