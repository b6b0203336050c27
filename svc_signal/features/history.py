"""The history engine: all 51 features for all bars of many products at once.

Training reads it directly; the live service reads the newest column of a window (see `svc_signal.serving`).
"""

from __future__ import annotations

import numpy as np

from svc_signal.candles import FloatArray, IntArray
from svc_signal.features.barterms import BarTerms, Before, directional_index, stochastic_k, typical_price
from svc_signal.features.daytime import time_features
from svc_signal.features.definition import FACTOR_BARS, FEATURE_COUNT, LAGS, READY_BARS
from svc_signal.features.laststage import LastStage, Stage, Work, gap_body, last_stage, returns
from svc_signal.features.recursions import anchored, ema, wilder, wilder_sum
from svc_signal.features.rows import (
    ACCUMULATION,
    CLOSE,
    DAY_FIRST,
    DAY_LOG_CLOSE,
    DAY_LONG,
    DAY_SHORT,
    EXTREMES,
    HIGH,
    INDEXED,
    LOG_CLOSE,
    LONG_CLOSE,
    LONG_TERMS,
    LONG_VOLUME,
    LOW,
    RET,
    SHORT_TERMS,
    SMOOTHED,
    SWINGS,
    SWINGS_FLOWS,
    WEEK_LONG,
)
from svc_signal.features.windows import (
    block_parts,
    lagged,
    merge_slopes,
    window_ages,
    window_max,
    window_moment,
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
        work = Work(*bar.shape[1:])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = last_stage(_stage(bar, start + granularity, factor, first_bar, work), work)
        ready = factor_ready & (_run_length(bar[CLOSE]) >= READY_BARS)
        values[:, rows] = np.where(ready, found.values, np.nan)
        deviations[:, rows] = np.where(ready, (found.sd_24, found.sd_168), np.nan)
    return LastStage(values, deviations[0], deviations[1])


def _stage(bar: FloatArray, close_time: IntArray, factor: FloatArray, first_bar: int, work: Work) -> Stage:
    shape, close = bar.shape[1:], bar[CLOSE]
    terms, long, short = BarTerms(*shape), np.empty((LONG_TERMS, *shape)), np.empty((SHORT_TERMS, *shape))
    place = (first_bar + np.arange(shape[-1])) % 24
    factor_ret = np.log(factor / lagged(factor, 1))
    terms.take(bar, _before(bar), factor_ret, place.astype(np.float64), long, short)
    log_close, log_factor = long[LOG_CLOSE], np.log(factor)
    for row, lag in zip(work.log_moves, LAGS, strict=True):
        np.subtract(log_close, lagged(log_close, lag), out=row)
    highest, below = window_max(short[EXTREMES], 14, first_bar)
    stochastic = work.above["stoch_k_14"]
    stochastic[...] = stochastic_k(close, -below, highest)
    work.above["stoch_d_14_3"][...] = window_sum(stochastic, 3, first_bar)
    day = _day(long, short, place, first_bar, work.above["linreg_slope_24"])
    week = window_sum(long[WEEK_LONG], 168, first_bar)
    sums_14 = window_sum(short[SWINGS_FLOWS], 14, first_bar)
    traded = np.stack((long[LONG_CLOSE], long[LONG_VOLUME], short[ACCUMULATION]))
    swings_28, swings_7 = (window_sum(short[SWINGS], width, first_bar) for width in (28, 7))
    smoothed, trix_before = _smoothed(bar, terms, first_bar)
    return Stage(
        bar=bar,
        time=time_features(close_time)[:, None],
        ret=long[RET],
        true_range=terms.true_range,
        height=terms.height,
        move_24=close - lagged(close, 24),
        factor_move_24=log_factor - lagged(log_factor, 24),
        day=day,
        week=week,
        gap_body=gap_body(day),
        returns=returns(day, week),
        factor_week=window_sum(np.stack((factor_ret, factor_ret * factor_ret)), 168, first_bar),
        short_20=window_sum(traded, 20, first_bar),
        moment_20=window_moment(close, 20, first_bar),
        close_50=window_sum(close, 50, first_bar),
        swings=np.stack((swings_28, swings_7, sums_14[:2])),
        flows_14=sums_14[2:],
        ages_26=window_ages(short[EXTREMES], 26, first_bar),
        smoothed=smoothed,
        trix_before=trix_before,
    )


def _day(long: FloatArray, short: FloatArray, place: IntArray, first_bar: int, slope: FloatArray) -> FloatArray:
    """Sums over 24 bars; `slope` receives that of the log close, which needs both parts of the windows."""
    suffix, prefix = block_parts(np.concatenate((long[DAY_LONG], short[DAY_SHORT])), 24, first_bar)
    sums = suffix + prefix
    plain, indexed = DAY_LOG_CLOSE, DAY_FIRST + INDEXED
    merge_slopes(24, place, suffix[plain], suffix[indexed], prefix[plain], prefix[indexed], sums[plain], slope)
    return sums


def _before(bar: FloatArray) -> Before:
    extremes = np.stack((bar[HIGH], -bar[LOW]))
    return Before(lagged(extremes, 1), lagged(bar[CLOSE], 1), lagged(typical_price(bar), 1))


def _smoothed(bar: FloatArray, terms: BarTerms, first_bar: int) -> tuple[FloatArray, FloatArray]:
    """(the recursive averages, TRIX's average one bar before)."""
    change, close = np.nan_to_num(terms.change), bar[CLOSE]
    inputs = np.stack((close, terms.true_range, *terms.moves, change))
    still = np.zeros_like(close)
    fresh = np.stack((close, terms.height, still, still, still))
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
            wilder(directional_index(plus, minus)),
            trix,
            lagged(trix, 1),
        )
    )


def _run_length(values: FloatArray) -> IntArray:
    """Bars since the last NaN, this one included; 0 on a NaN."""
    position = np.arange(values.shape[-1], dtype=np.int64)
    broken = np.where(np.isfinite(values), -1, position)
    return np.asarray(position - np.maximum.accumulate(broken, axis=-1))
