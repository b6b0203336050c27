"""Window sums, minima and maxima that do not depend on where a series starts, over whole histories.

A running sum that subtracts the leaving value drifts and remembers its start. Here each window is split where
the absolute bar number is a multiple of its width: suffix of the previous block plus prefix of the current
one. Both are plain sequential accumulations, so a bar-by-bar engine adds the same numbers in the same order.
"""

from __future__ import annotations

import numpy as np

from modelkit.candles import FloatArray
from modelkit.features.compiled import compiled, larger, ratio

_FLAT = 1e-12


def window_sum(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    """Sum of the last `width` values at each bar; time is the last axis. NaN where the window reaches before the
    series or over a NaN."""
    return _windows(x, width, first_bar, largest=False)


def window_max(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    """As `window_sum`, the largest."""
    return _windows(x, width, first_bar, largest=True)


def window_moment(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    """Centred sum of squares of each window, for values far from zero such as prices."""
    rows = _rows(x)
    out = np.empty_like(rows)
    _moments(rows, width, first_bar % width, out)
    return out.reshape(x.shape)


def window_slope(x: FloatArray, indexed: FloatArray, width: int, first_bar: int) -> FloatArray:
    """Least-squares slope of x on time; `indexed` is x times the place of its bar in the block."""
    rows = _rows(x)
    out = np.empty_like(rows)
    _slopes(rows, _rows(indexed), width, first_bar % width, out)
    return out.reshape(x.shape)


def window_ages(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    """Bars since the largest value of each window; of equal ones the newest counts."""
    rows = _rows(x)
    out = np.empty_like(rows)
    _ages(rows, width, first_bar % width, out)
    return out.reshape(x.shape)


def lagged(x: FloatArray, lag: int) -> FloatArray:
    """x shifted by `lag` bars; NaN where the series has not begun."""
    moved = np.full_like(x, np.nan)
    if lag < x.shape[-1]:
        moved[..., lag:] = x[..., : x.shape[-1] - lag]
    return moved


def _rows(x: FloatArray) -> FloatArray:
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _windows(x: FloatArray, width: int, first_bar: int, largest: bool) -> FloatArray:
    rows = _rows(x)
    out = np.empty_like(rows)
    _blocks(rows, width, first_bar % width, largest, out)
    return out.reshape(x.shape)


@compiled
def together(a: float, b: float, largest: bool) -> float:
    """Two parts of a window as one: the larger, or the sum."""
    return larger(a, b) if largest else a + b


@compiled
def moment_of(
    count_a: float,
    shift_a: float,
    sum_a: float,
    square_a: float,
    count_b: float,
    shift_b: float,
    sum_b: float,
    square_b: float,
) -> float:
    """Centred sum of squares of two parts given as count, shift, and sums of shifted values and squares.

    The parallel formula of Chan, Golub and LeVeque (1979). The first part may be empty: count and sums zero, and any
    finite shift. A result below 1e-12 of the shifted second moment is rounding and counts as zero.
    """
    mean_a, mean_b = sum_a / max(count_a, 1.0), sum_b / count_b
    apart = (shift_b - shift_a) + (mean_b - mean_a)
    between = apart * apart * (count_a * count_b / (count_a + count_b))
    moment = (square_a - mean_a * sum_a) + (square_b - mean_b * sum_b) + between
    return 0.0 if moment <= (between + (square_a + square_b)) * _FLAT else moment


@compiled
def slope_of(width: float, within: float, plain_a: float, indexed_a: float, plain_b: float, indexed_b: float) -> float:
    """Least-squares slope of y on time over a window, from the sums of y and i*y of its two parts.

    `within` is the bar's place in its block, i that of each value.
    """
    moment = (indexed_a - (within + 1.0) * plain_a) + ((width - 1.0 - within) * plain_b + indexed_b)
    moment -= 0.5 * (width - 1.0) * (plain_a + plain_b)
    return moment / (width * (width * width - 1.0) / 12.0)


@compiled
def stochastics(close: FloatArray, extremes: FloatArray, k: FloatArray) -> None:
    """Where the close lies between the extremes of its window: highest high and lowest low, this negative."""
    for i in range(len(close)):
        k[i] = ratio(close[i] + extremes[1, i], extremes[0, i] + extremes[1, i], 0.5)


@compiled
def _suffixes(row: FloatArray, begin: int, largest: bool, suffix: FloatArray) -> None:
    """Place j becomes what the values of a block after place j come to; the last place stays that of none."""
    width = len(suffix)
    running = np.nan
    for place in range(width - 1, 0, -1):
        value = row[begin + place] if begin + place >= 0 else np.nan
        running = value if place == width - 1 else together(running, value, largest)
        suffix[place - 1] = running


@compiled
def _before_all(suffix: FloatArray, neutral: float) -> None:
    """The block before the series: nothing is known of it, and its last place is never read as one of its values."""
    suffix[:] = np.nan
    suffix[-1] = neutral


@compiled
def _blocks(x: FloatArray, width: int, lead: int, largest: bool, out: FloatArray) -> None:
    bars, suffix = x.shape[1], np.empty(width)
    for row in range(x.shape[0]):
        _before_all(suffix, -np.inf if largest else 0.0)
        for begin in range(-lead, bars, width):
            running = np.nan
            for t in range(max(begin, 0), min(begin + width, bars)):
                running = x[row, t] if t == begin else together(running, x[row, t], largest)
                out[row, t] = together(suffix[t - begin], running, largest)
            if begin + width < bars:
                _suffixes(x[row], begin, largest, suffix)


@compiled
def _moments(x: FloatArray, width: int, lead: int, out: FloatArray) -> None:
    """Both parts are shifted by the first value of their block."""
    bars, sums, squares = x.shape[1], np.empty(width), np.empty(width)
    for row in range(x.shape[0]):
        _before_all(sums, 0.0)
        _before_all(squares, 0.0)
        older = np.nan
        for begin in range(-lead, bars, width):
            shift = x[row, begin] if begin >= 0 else np.nan
            # Before the first block there is only the empty part, whose shift may be any.
            older = older if begin > 0 else shift
            total, square = 0.0, 0.0
            for t in range(max(begin, 0), min(begin + width, bars)):
                value = x[row, t] - shift
                total, square = (value, value * value) if t == begin else (total + value, square + value * value)
                place = t - begin
                out[row, t] = moment_of(
                    width - (place + 1.0), older, sums[place], squares[place], place + 1.0, shift, total, square
                )
            if begin + width < bars:
                total = square = np.nan
                for place in range(width - 1, 0, -1):
                    value = x[row, begin + place] - shift if begin + place >= 0 else np.nan
                    last = place == width - 1
                    total, square = (value, value * value) if last else (total + value, square + value * value)
                    sums[place - 1], squares[place - 1] = total, square
            older = shift


@compiled
def _slopes(plain: FloatArray, indexed: FloatArray, width: int, lead: int, out: FloatArray) -> None:
    bars, plain_a, indexed_a = plain.shape[1], np.empty(width), np.empty(width)
    for row in range(plain.shape[0]):
        _before_all(plain_a, 0.0)
        _before_all(indexed_a, 0.0)
        for begin in range(-lead, bars, width):
            plain_b = indexed_b = np.nan
            for t in range(max(begin, 0), min(begin + width, bars)):
                first, place = t == begin, t - begin
                plain_b = plain[row, t] if first else plain_b + plain[row, t]
                indexed_b = indexed[row, t] if first else indexed_b + indexed[row, t]
                out[row, t] = slope_of(float(width), float(place), plain_a[place], indexed_a[place], plain_b, indexed_b)
            if begin + width < bars:
                _suffixes(plain[row], begin, False, plain_a)
                _suffixes(indexed[row], begin, False, indexed_a)


@compiled
def _ages(x: FloatArray, width: int, lead: int, out: FloatArray) -> None:
    """Along with the largest value of both parts goes its bar; the newer part wins a tie."""
    bars, suffix, suffix_bar = x.shape[1], np.empty(width), np.empty(width, np.int64)
    for row in range(x.shape[0]):
        suffix_bar[:] = 0
        _before_all(suffix, -np.inf)
        for begin in range(-lead, bars, width):
            best, best_bar = np.nan, 0
            for t in range(max(begin, 0), min(begin + width, bars)):
                value = x[row, t]
                if t == begin or value >= best:
                    best, best_bar = value, t
                elif value != value:
                    best = value
                older = suffix[t - begin]
                known = best == best and older == older
                out[row, t] = t - (suffix_bar[t - begin] if older > best else best_bar) if known else np.nan
            if begin + width < bars:
                for place in range(width - 1, 0, -1):
                    value = x[row, begin + place] if begin + place >= 0 else np.nan
                    if place == width - 1 or value > suffix[place]:
                        suffix[place - 1], suffix_bar[place - 1] = value, begin + place
                    else:
                        suffix[place - 1], suffix_bar[place - 1] = larger(value, suffix[place]), suffix_bar[place]
