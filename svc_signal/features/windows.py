"""Window sums, minima and maxima that do not depend on where a series starts.

A running sum that subtracts the leaving value drifts and remembers its start. Here each window is split where
the absolute bar number is a multiple of its width: suffix of the previous block plus prefix of the current
one. Both are plain sequential accumulations, so a bar-by-bar engine adds the same numbers in the same order.
"""

from __future__ import annotations

import numpy as np

from svc_signal.candles import FloatArray, IntArray

_NARROW, _IN_CACHE = 8, 1 << 17
"""Widest block, and most values, that `_running` takes place by place."""


def block_parts(x: FloatArray, width: int, first_bar: int, ufunc: np.ufunc = np.add) -> tuple[FloatArray, FloatArray]:
    """(suffix of the previous block, prefix of the current block) for the window ending at each bar.

    Time is the last axis. A part is NaN where the window reaches before the series or over a NaN.
    """
    lead, bars = first_bar % width, x.shape[-1]
    suffix, prefix = _grid_parts(_blocks(x, width, lead), ufunc)
    flat = (*x.shape[:-1], -1)
    cut = slice(lead, lead + bars)
    return suffix.reshape(flat)[..., cut], prefix.reshape(flat)[..., cut]


def _grid_parts(grid: FloatArray, ufunc: np.ufunc) -> tuple[FloatArray, FloatArray]:
    """Both parts of series cut into blocks: (..., block, place in the block)."""
    prefix = _running(grid, ufunc)
    suffix = np.empty_like(grid)
    suffix[..., 0, :] = np.nan
    suffix[..., 1:, :-1] = _running(grid[..., :-1, :0:-1], ufunc)[..., ::-1]
    suffix[..., -1] = neutral(ufunc)
    return suffix, prefix


def _running(grid: FloatArray, ufunc: np.ufunc) -> FloatArray:
    """`ufunc.accumulate` along the last axis; narrow blocks go place by place, all blocks at once, which is the same
    order of operations without a call per block."""
    if grid.shape[-1] > _NARROW or grid.size > _IN_CACHE:
        return np.asarray(ufunc.accumulate(grid, axis=-1))
    running = np.empty(grid.shape)
    running[..., 0] = grid[..., 0]
    for place in range(1, grid.shape[-1]):
        ufunc(running[..., place - 1], grid[..., place], out=running[..., place])
    return running


def window_sum(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    suffix, prefix = block_parts(x, width, first_bar)
    return suffix + prefix


def window_min(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    return np.minimum(*block_parts(x, width, first_bar, np.minimum))


def window_max(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    return np.maximum(*block_parts(x, width, first_bar, np.maximum))


def window_moment(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    """Centred sum of squares of each window, for values far from zero such as prices.

    Both parts are shifted by the first value of their block and merged with the parallel formula of Chan,
    Golub and LeVeque (1979). A result below 1e-12 of the shifted second moment is rounding and counts as
    zero.
    """
    lead, bars = first_bar % width, x.shape[-1]
    grid = _blocks(x, width, lead)
    shift = grid[..., :1]
    previous = shift.copy()  # before the first block there is only the empty part
    previous[..., 1:, :] = shift[..., :-1, :]
    shifted = np.empty((2, *grid.shape))
    np.subtract(grid, shift, out=shifted[0])
    np.multiply(shifted[0], shifted[0], out=shifted[1])
    suffix, prefix = _grid_parts(shifted, np.add)
    count_b = np.arange(1.0, width + 1.0)
    merged = merge_moments(width - count_b, previous, suffix[0], suffix[1], count_b, shift, prefix[0], prefix[1])
    return np.asarray(merged.reshape(*x.shape[:-1], -1)[..., lead : lead + bars])


def merge_moments(
    count_a: FloatArray | float,
    shift_a: FloatArray,
    sum_a: FloatArray,
    square_a: FloatArray,
    count_b: FloatArray | float,
    shift_b: FloatArray,
    sum_b: FloatArray,
    square_b: FloatArray,
) -> FloatArray:
    """Centred sum of squares of two parts given as count, shift, and sums of shifted values and squares.

    The first part may be empty: count and sums zero, and any finite shift.
    """
    mean_a, mean_b = sum_a / _at_least_one(count_a), sum_b / count_b
    between = (shift_b - shift_a) + (mean_b - mean_a)
    between *= between
    between *= count_a * count_b / (count_a + count_b)
    mean_a *= sum_a
    mean_b *= sum_b
    moment = np.subtract(square_a, mean_a, out=mean_a)
    moment += np.subtract(square_b, mean_b, out=mean_b)
    moment += between
    between += square_a + square_b
    between *= 1e-12
    rounding = moment <= between
    if rounding.any():
        moment[rounding] = 0.0
    return moment


def _at_least_one(count: FloatArray | float) -> FloatArray | float:
    return max(count, 1.0) if isinstance(count, float) else np.maximum(count, 1.0)


def merge_slopes(
    width: int,
    within: IntArray | float,
    plain_a: FloatArray,
    indexed_a: FloatArray,
    plain_b: FloatArray,
    indexed_b: FloatArray,
    plain: FloatArray,
    out: FloatArray,
) -> None:
    """Least-squares slope of y on time over a window, from the sums of y and i*y of its two parts.

    `within` is the bar's place in its block, i that of each value; `plain` is the sum of y over both parts.
    """
    moment = np.subtract(indexed_a, (within + 1.0) * plain_a, out=out)
    later = (width - 1.0 - within) * plain_b
    later += indexed_b
    moment += later
    moment -= 0.5 * (width - 1.0) * plain
    moment /= width * (width * width - 1.0) / 12.0


def window_ages(x: FloatArray, width: int, first_bar: int) -> FloatArray:
    """Bars since the largest value of each window; of equal ones the newest counts.

    Blocks as for sums: the place of the extreme is carried along both parts, and the newer part wins a tie.
    """
    lead, bars = first_bar % width, x.shape[-1]
    grid = _blocks(x, width, lead)
    places = np.arange(float(width))
    prefix = _running(grid, np.maximum)
    newest = _running((grid >= prefix) * places, np.maximum)
    back = np.full(grid.shape, -np.inf)
    back[..., :-1] = _running(grid[..., :0:-1], np.maximum)[..., ::-1]
    larger = grid[..., 1:] > back[..., 1:]
    oldest = _running(np.where(larger, places[1:], float(width))[..., ::-1], np.minimum)[..., ::-1]
    age = places - newest
    from_before = (places[:-1] + width) - oldest[..., :-1, :]
    older = back[..., :-1, :-1] > prefix[..., 1:, :-1]
    np.copyto(age[..., 1:, :-1], from_before, where=older)
    flat = age.reshape(*x.shape[:-1], -1)[..., lead : lead + bars]
    flat[..., : width - 1] = np.nan
    return flat


def lagged(x: FloatArray, lag: int) -> FloatArray:
    """x shifted by `lag` bars; NaN where the series has not begun."""
    moved = np.full_like(x, np.nan)
    if lag < x.shape[-1]:
        moved[..., lag:] = x[..., : x.shape[-1] - lag]
    return moved


def _blocks(x: FloatArray, width: int, lead: int) -> FloatArray:
    bars = x.shape[-1]
    count = -(-(lead + bars) // width)
    padded = np.full((*x.shape[:-1], count * width), np.nan)
    padded[..., lead : lead + bars] = x
    return padded.reshape(*x.shape[:-1], count, width)


def neutral(ufunc: np.ufunc) -> float:
    """What an empty part contributes."""
    if ufunc is np.minimum:
        return np.inf
    return -np.inf if ufunc is np.maximum else 0.0
