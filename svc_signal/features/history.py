"""The history engine: all 51 features for all bars of many products at once.

Training reads it directly; the live service reads the newest column of a window (see `svc_signal.serving`).
"""

from __future__ import annotations

import numpy as np

from svc_signal.candles import FloatArray, IntArray
from svc_signal.features.barterms import (
    Bar,
    BarTerms,
    Before,
    bar_terms,
    directional_index,
    stochastic_k,
    typical_price,
)
from svc_signal.features.definition import FACTOR_BARS, FEATURE_COUNT, LAGS, READY_BARS
from svc_signal.features.laststage import Day, LastStage, Short, Smoothed, Stage, Week, last_stage
from svc_signal.features.recursions import anchored, ema, wilder, wilder_sum
from svc_signal.features.scratch import Scratch
from svc_signal.features.windows import (
    lagged,
    window_ages,
    window_max,
    window_min,
    window_moment,
    window_slope,
    window_sum,
)

_RECURSIVE = 12
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
        bar = Bar(open[rows], high[rows], low[rows], close[rows], volume[rows])
        scratch = Scratch(*bar.close.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = last_stage(_stage(bar, start + granularity, factor, first_bar, scratch), scratch)
        ready = factor_ready & (_run_length(bar.close) >= READY_BARS)
        values[:, rows] = np.where(ready, found.values, np.nan)
        deviations[:, rows] = np.where(ready, (found.sd_24, found.sd_168), np.nan)
    return LastStage(values, deviations[0], deviations[1])


def _stage(bar: Bar, close_time: IntArray, factor: FloatArray, first_bar: int, scratch: Scratch) -> Stage:
    before = Before(*(lagged(field, 1) for field in (bar.high, bar.low, bar.close, typical_price(bar))))
    terms = bar_terms(bar, before, factor, lagged(factor, 1), scratch)
    log_factor = np.log(factor)
    lowest, highest = window_min(bar.low, 14, first_bar), window_max(bar.high, 14, first_bar)
    stochastic = stochastic_k(bar.close, lowest, highest)
    return Stage(
        bar=bar,
        close_time=close_time,
        ret=terms.ret,
        true_range=terms.true_range,
        height=terms.height,
        stochastic_k=stochastic,
        log_moves=np.stack([terms.log_close - lagged(terms.log_close, lag) for lag in LAGS]),
        move_24=bar.close - lagged(bar.close, 24),
        factor_move_24=log_factor - lagged(log_factor, 24),
        day=_day(bar, terms, first_bar),
        week=_week(bar, terms, first_bar),
        short=_short(bar, terms, stochastic, first_bar),
        smoothed=_smoothed(bar, terms, first_bar),
    )


def _day(bar: Bar, terms: BarTerms, first_bar: int) -> Day:
    fall = np.minimum(terms.ret, 0.0)
    columns = (
        terms.ret,
        terms.ret * terms.ret,
        fall * fall,
        np.abs(terms.change),
        terms.change > 0.0,
        terms.log_range * terms.log_range,
        terms.log_body,
        terms.log_body * terms.log_body,
        terms.log_gap,
        terms.log_gap * terms.log_gap,
        terms.rogers_satchell,
        bar.volume,
        terms.money,
        terms.typical,
        terms.signed_volume,
    )
    return Day(*window_sum(np.stack(columns), 24, first_bar))


def _week(bar: Bar, terms: BarTerms, first_bar: int) -> Week:
    ret, factor = terms.ret, terms.factor_ret
    close, volume, total, square, product = window_sum(
        np.stack((bar.close, bar.volume, ret, ret * ret, ret * factor)), 168, first_bar
    )
    factor_total, factor_square = window_sum(np.stack((factor, factor * factor)), 168, first_bar)
    return Week(close, volume, total, square, factor_total, factor_square, product)


def _short(bar: Bar, terms: BarTerms, stochastic: FloatArray, first_bar: int) -> Short:
    accumulation = terms.close_location * bar.volume
    close_20, volume_20, accumulation_20 = window_sum(np.stack((bar.close, bar.volume, accumulation)), 20, first_bar)
    swings = np.stack((terms.buying_pressure, terms.window_range))
    flows = np.stack((terms.positive_flow, terms.negative_flow))
    pressure_7, range_7 = window_sum(swings, 7, first_bar)
    pressure_14, range_14, positive_14, negative_14 = window_sum(np.concatenate((swings, flows)), 14, first_bar)
    pressure_28, range_28 = window_sum(swings, 28, first_bar)
    low_age, high_age = window_ages(np.stack((-bar.low, bar.high)), 26, first_bar)
    return Short(
        close_20=close_20,
        moment_20=window_moment(bar.close, 20, first_bar),
        volume_20=volume_20,
        accumulation_20=accumulation_20,
        close_50=window_sum(bar.close, 50, first_bar),
        pressure=(pressure_7, pressure_14, pressure_28),
        ranges=(range_7, range_14, range_28),
        positive_flow_14=positive_14,
        negative_flow_14=negative_14,
        stochastic_3=window_sum(stochastic, 3, first_bar),
        low_age_26=low_age,
        high_age_26=high_age,
        slope_24=window_slope(terms.log_close, 24, first_bar),
    )


def _smoothed(bar: Bar, terms: BarTerms, first_bar: int) -> Smoothed:
    change = np.nan_to_num(terms.change)
    inputs = np.stack((bar.close, terms.true_range, terms.plus_move, terms.minus_move, change))
    still = np.zeros_like(bar.close)
    fresh = np.stack((bar.close, terms.height, still, still, still))
    present = np.isfinite(bar.close)
    return Smoothed(*anchored(present, inputs, fresh, first_bar, _RECURSIVE, _recursions))


def _recursions(inputs: FloatArray) -> FloatArray:
    close, true_range, plus_move, minus_move, change = inputs
    ema_12, ema_26 = ema(close, 12), ema(close, 26)
    trix = ema(ema(ema_12, 12), 12)
    plus, minus = wilder_sum(plus_move), wilder_sum(minus_move)
    return np.stack(
        (
            ema_12,
            ema_26,
            ema(ema_12 - ema_26, 9),
            trix,
            lagged(trix, 1),
            wilder(true_range),
            wilder_sum(true_range),
            plus,
            minus,
            wilder(directional_index(plus, minus)),
            wilder(np.maximum(change, 0.0)),
            wilder(np.maximum(-change, 0.0)),
        )
    )


def _run_length(values: FloatArray) -> IntArray:
    """Bars since the last NaN, this one included; 0 on a NaN."""
    position = np.arange(values.shape[-1], dtype=np.int64)
    broken = np.where(np.isfinite(values), -1, position)
    return np.asarray(position - np.maximum.accumulate(broken, axis=-1))
