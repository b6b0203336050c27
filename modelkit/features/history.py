"""The history engine: all 51 features for all bars of many products at once.

Training reads it directly; the live service reads the newest column of a window (see `modelkit.serving`).
"""

from __future__ import annotations

import numpy as np

from modelkit.candles import FloatArray, IntArray
from modelkit.features.barterms import BarTerms, Before
from modelkit.features.daytime import time_features
from modelkit.features.definition import FACTOR_BARS, FEATURE_COUNT, LAGS, READY_BARS
from modelkit.features.laststage import LastStage, Stage, last_stage
from modelkit.features.recursions import anchored, directional_indices, ema, wilder, wilder_sum
from modelkit.features.rows import (
    ACCUMULATION,
    CHANGE,
    CLOSE,
    DAY_LONG,
    DAY_SHORT,
    EXTREMES,
    HEIGHT,
    HIGH,
    INDEXED,
    LINREG_SLOPE_24,
    LOG_CLOSE,
    LONG_CLOSE,
    LONG_TERMS,
    LONG_VOLUME,
    LOW,
    MINUS_MOVE,
    PLUS_MOVE,
    RET,
    SHORT_TERMS,
    SMOOTHED,
    STOCH_D_14_3,
    STOCH_K_14,
    SWINGS,
    SWINGS_FLOWS,
    TRUE_RANGE,
    WEEK_LONG,
)
from modelkit.features.windows import (
    lagged,
    stochastics,
    window_ages,
    window_max,
    window_moment,
    window_slope,
    window_sum,
)

_CELLS = 1 << 16
"""Bars times products worked on together: what passes through memory stays bounded, and mostly in the cache."""


def history(
    start: IntArray,
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    factor: FloatArray,
) -> FloatArray:
    """Features (51, P, T) of a cleaned grid: `start` (T), prices and volume (P, T), factor close (T).

    NaN prices mean that there is no bar and divide a product's series; a column is NaN until 350 bars have
    passed since then and wherever the factor's last 169 bars are not complete. It reads bars up to its own
    only.
    """
    return history_stage(start, open, high, low, close, volume, factor).values


def history_stage(
    start: IntArray,
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    factor: FloatArray,
) -> LastStage:
    """As `history`, together with the two standard deviations per bar."""
    bars = len(start)
    granularity = int(start[1] - start[0]) if bars > 1 else 1
    if bars > 1 and (np.diff(start) != granularity).any():
        raise ValueError("start times are not consecutive")
    first_bar = int(start[0]) // granularity
    values, deviations = np.empty((FEATURE_COUNT, *close.shape)), np.empty((2, *close.shape))
    factor_ready = _run_length(factor) >= FACTOR_BARS
    together = max(1, _CELLS // max(1, bars))
    for first in range(0, len(close), together):
        rows = slice(first, first + together)
        bar = np.stack((high[rows], low[rows], close[rows], open[rows], volume[rows]))
        with np.errstate(invalid="ignore", divide="ignore"):
            found = last_stage(_stage(bar, start + granularity, factor, first_bar))
        ready = factor_ready & (_run_length(bar[CLOSE]) >= READY_BARS)
        shape = bar.shape[1:]
        values[:, rows] = np.where(ready, found.values.reshape(-1, *shape), np.nan)
        deviations[0, rows] = np.where(ready, found.sd_24.reshape(shape), np.nan)
        deviations[1, rows] = np.where(ready, found.sd_168.reshape(shape), np.nan)
    return LastStage(values, deviations[0], deviations[1])


class _Series:
    """Series of several products (rows, P, T), and the same memory as cells (rows, P*T)."""

    def __init__(self, rows: int, shape: tuple[int, ...]) -> None:
        self.cells = np.empty((rows, int(np.prod(shape))))
        self.series = self.cells.reshape(rows, *shape)


def _stage(bar: FloatArray, close_time: IntArray, factor: FloatArray, first_bar: int) -> Stage:
    shape, close = bar.shape[1:], bar[CLOSE]
    terms, long, short = BarTerms(close.size), _Series(LONG_TERMS, shape), _Series(SHORT_TERMS, shape)
    place = (first_bar + np.arange(shape[-1])) % 24
    factor_ret, log_factor = np.log(factor / lagged(factor, 1)), np.log(factor)
    by_cell = (_every(factor_ret, shape), _every(place.astype(np.float64), shape))
    terms.take(_cells(bar), _before(bar), *by_cell, long.cells, short.cells)
    values = _own_features(close, long.series, short.series, first_bar)
    day = window_sum(np.concatenate((long.series[DAY_LONG], short.series[DAY_SHORT])), 24, first_bar)
    sums_14 = window_sum(short.series[SWINGS_FLOWS], 14, first_bar)
    swings_28, swings_7 = (window_sum(short.series[SWINGS], width, first_bar) for width in (28, 7))
    traded = np.stack((long.series[LONG_CLOSE], long.series[LONG_VOLUME], short.series[ACCUMULATION]))
    smoothed, trix_before = _smoothed(bar, terms.own.reshape(-1, *shape), first_bar)
    factor_sums = window_sum(np.stack((factor_ret, factor_ret * factor_ret)), 168, first_bar)
    return Stage(
        values=values.cells,
        bar=_cells(bar),
        time=_every(time_features(close_time), shape),
        ret=long.cells[RET],
        own=terms.own,
        move_24=(close - lagged(close, 24)).ravel(),
        factor_move_24=_every(log_factor - lagged(log_factor, 24), shape),
        day=_cells(day),
        week=_cells(window_sum(long.series[WEEK_LONG], 168, first_bar)),
        factor_week=_every(factor_sums, shape),
        short_20=_cells(window_sum(traded, 20, first_bar)),
        moment_20=window_moment(close, 20, first_bar).ravel(),
        close_50=window_sum(close, 50, first_bar).ravel(),
        swings=_cells(np.concatenate((swings_28, swings_7, sums_14))),
        ages_26=_cells(window_ages(short.series[EXTREMES], 26, first_bar)),
        smoothed=_cells(smoothed),
        trix_before=trix_before.ravel(),
        deviations=np.empty((2, close.size)),
    )


def _own_features(close: FloatArray, long: FloatArray, short: FloatArray, first_bar: int) -> _Series:
    """The features that `Stage.values` holds before the last stage."""
    values = _Series(FEATURE_COUNT, close.shape)
    for row, lag in enumerate(LAGS):
        np.subtract(long[LOG_CLOSE], lagged(long[LOG_CLOSE], lag), out=values.series[row])
    extremes = _cells(window_max(short[EXTREMES], 14, first_bar))
    stochastics(close.ravel(), extremes, values.cells[STOCH_K_14])
    values.series[STOCH_D_14_3] = window_sum(values.series[STOCH_K_14], 3, first_bar)
    values.series[LINREG_SLOPE_24] = window_slope(long[LOG_CLOSE], short[INDEXED], 24, first_bar)
    return values


def _cells(series: FloatArray) -> FloatArray:
    return np.ascontiguousarray(series).reshape(len(series), -1)


def _every(by_bar: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """What is the same for all products, by cell."""
    return np.tile(by_bar, shape[0])


def _before(bar: FloatArray) -> Before:
    extremes, typical = np.stack((bar[HIGH], -bar[LOW])), (bar[HIGH] + bar[LOW] + bar[CLOSE]) / 3.0
    return Before(_cells(lagged(extremes, 1)), lagged(bar[CLOSE], 1).ravel(), lagged(typical, 1).ravel())


def _smoothed(bar: FloatArray, own: FloatArray, first_bar: int) -> tuple[FloatArray, FloatArray]:
    """(the recursive averages, TRIX's average one bar before)."""
    change, close = np.nan_to_num(own[CHANGE]), bar[CLOSE]
    inputs = np.stack((close, own[TRUE_RANGE], own[PLUS_MOVE], own[MINUS_MOVE], change))
    still = np.zeros_like(close)
    fresh = np.stack((close, own[HEIGHT], still, still, still))
    averages = anchored(np.isfinite(close), inputs, fresh, first_bar, SMOOTHED + 1, _recursions)
    return averages[:SMOOTHED], averages[SMOOTHED]


def _recursions(inputs: FloatArray) -> FloatArray:
    """In the order of `features.rows`, and TRIX's average one bar before."""
    close, true_range, plus_move, minus_move, change = inputs
    ema_12, ema_26 = ema(close, 12), ema(close, 26)
    ema_12_twice = ema(ema_12, 12)
    trix = ema(ema_12_twice, 12)
    plus, minus = wilder_sum(plus_move), wilder_sum(minus_move)
    return np.stack(
        (
            ema_12,
            ema_26,
            wilder(true_range),
            wilder_sum(true_range),
            plus,
            minus,
            wilder(np.maximum(change, 0.0)),
            wilder(np.maximum(-change, 0.0)),
            ema_12_twice,
            ema(ema_12 - ema_26, 9),
            wilder(directional_indices(plus, minus)),
            trix,
            lagged(trix, 1),
        )
    )


def _run_length(values: FloatArray) -> IntArray:
    """Bars since the last NaN, this one included; 0 on a NaN."""
    position = np.arange(values.shape[-1], dtype=np.int64)
    broken = np.where(np.isfinite(values), -1, position)
    return np.asarray(position - np.maximum.accumulate(broken, axis=-1))
