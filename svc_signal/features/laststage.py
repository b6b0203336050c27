"""The last stage: from window sums and recursive averages to the 51 values, in one place for every engine.

Everything is elementwise, so it gives the same bits for one bar and for a whole history. Formulas: TA-Lib
conventions where a name is shared; Parkinson (1980), Garman and Klass (1980), Yang and Zhang (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import numpy as np

from svc_signal.candles import FloatArray, IntArray
from svc_signal.features.barterms import Bar, ratio, stochastic_k

_FLAT = 1e-12
_LOG_2 = log(2.0)
_YANG_ZHANG_K = 0.34 / (1.34 + 25.0 / 23.0)
_DAY, _WEEK, _EPOCH_TO_MONDAY = 86_400, 604_800, 259_200


@dataclass(frozen=True, slots=True)
class Day:
    """Sums over the last 24 bars."""

    ret: FloatArray
    ret_square: FloatArray
    fall_square: FloatArray
    path: FloatArray
    ups: FloatArray
    range_square: FloatArray
    body: FloatArray
    body_square: FloatArray
    gap: FloatArray
    gap_square: FloatArray
    rogers_satchell: FloatArray
    volume: FloatArray
    money: FloatArray
    typical: FloatArray
    signed_volume: FloatArray


@dataclass(frozen=True, slots=True)
class Week:
    """Sums over the last 168 bars."""

    close: FloatArray
    volume: FloatArray
    ret: FloatArray
    ret_square: FloatArray
    factor: FloatArray
    factor_square: FloatArray
    product: FloatArray


@dataclass(frozen=True, slots=True)
class Short:
    """Sums and extremes over the shorter windows."""

    close_20: FloatArray
    moment_20: FloatArray
    volume_20: FloatArray
    accumulation_20: FloatArray
    close_50: FloatArray
    pressure: tuple[FloatArray, FloatArray, FloatArray]
    ranges: tuple[FloatArray, FloatArray, FloatArray]
    positive_flow_14: FloatArray
    negative_flow_14: FloatArray
    lowest_14: FloatArray
    highest_14: FloatArray
    stochastic_3: FloatArray
    low_age_26: FloatArray
    high_age_26: FloatArray
    slope_24: FloatArray


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Recursive averages."""

    ema_12: FloatArray
    ema_26: FloatArray
    macd_signal: FloatArray
    trix: FloatArray
    trix_before: FloatArray
    atr: FloatArray
    range_sum: FloatArray
    plus: FloatArray
    minus: FloatArray
    adx: FloatArray
    gain: FloatArray
    loss: FloatArray


@dataclass(frozen=True, slots=True)
class Stage:
    """All that the last stage reads for a bar; `log_moves` are the log returns of lags 1, 2, 4, 8, 24, 72,
    168."""

    bar: Bar
    close_time: IntArray
    ret: FloatArray
    true_range: FloatArray
    log_moves: tuple[FloatArray, ...]
    move_24: FloatArray
    factor_move_24: FloatArray
    day: Day
    week: Week
    short: Short
    smoothed: Smoothed


@dataclass(frozen=True, slots=True)
class LastStage:
    """`values` is (51, ...); the two deviations per bar are what labels and decisions scale their barriers
    with."""

    values: FloatArray
    sd_24: FloatArray
    sd_168: FloatArray


def last_stage(stage: Stage) -> LastStage:
    sd_24 = _deviation(stage.day.ret, stage.day.ret_square, 24)
    sd_168 = _deviation(stage.week.ret, stage.week.ret_square, 168)
    columns = (
        _returns(stage, sd_24)
        + _trend(stage)
        + _momentum(stage)
        + _volatility(stage, sd_24, sd_168)
        + _volume(stage)
        + _candle(stage)
        + _time(stage)
        + _cross(stage)
    )
    shape = stage.bar.close.shape
    values = np.stack([np.broadcast_to(column, shape) for column in columns])
    return LastStage(values, sd_24, sd_168)


def _central(square: FloatArray, total: FloatArray, count: int) -> FloatArray:
    """Centred second moment; what is only rounding of `square` counts as zero."""
    moment = square - total * total / count
    return np.where(moment <= _FLAT * square, 0.0, moment)


def _deviation(total: FloatArray, square: FloatArray, count: int) -> FloatArray:
    return np.sqrt(_central(square, total, count) / (count - 1))


def _returns(stage: Stage, sd_24: FloatArray) -> list[FloatArray]:
    return [*stage.log_moves, ratio(stage.ret - stage.day.ret / 24.0, sd_24, 0.0)]


def _trend(stage: Stage) -> list[FloatArray]:
    close, short, smooth = stage.bar.close, stage.short, stage.smoothed
    macd = smooth.ema_12 - smooth.ema_26
    return [
        close / (short.close_20 / 20.0) - 1.0,
        close / (short.close_50 / 50.0) - 1.0,
        close / (stage.week.close / 168.0) - 1.0,
        macd / smooth.ema_26,
        ratio(macd - smooth.macd_signal, smooth.atr, 0.0),
        smooth.adx,
        ratio(smooth.plus - smooth.minus, smooth.range_sum, 0.0),
        (short.low_age_26 - short.high_age_26) / 25.0,
        short.slope_24,
    ]


def _momentum(stage: Stage) -> list[FloatArray]:
    short, smooth = stage.short, stage.smoothed
    pressure = [ratio(b, t, 0.5) for b, t in zip(short.pressure, short.ranges, strict=True)]
    return [
        ratio(smooth.gain, smooth.gain + smooth.loss, 0.5),
        stochastic_k(stage.bar.close, short.lowest_14, short.highest_14),
        short.stochastic_3 / 3.0,
        (4.0 * pressure[0] + 2.0 * pressure[1] + pressure[2]) / 7.0,
        smooth.trix / smooth.trix_before - 1.0,
        ratio(np.abs(stage.move_24), stage.day.path, 0.0),
        stage.day.ups / 24.0,
    ]


def _volatility(stage: Stage, sd_24: FloatArray, sd_168: FloatArray) -> list[FloatArray]:
    day, close = stage.day, stage.bar.close
    flat = (sd_24 <= 0.0) | (sd_168 <= 0.0)
    garman_klass = (0.5 * day.range_square - (2.0 * _LOG_2 - 1.0) * day.body_square) / 24.0
    open_variance = _central(day.gap_square, day.gap, 24) / 23.0
    body_variance = _central(day.body_square, day.body, 24) / 23.0
    yang_zhang = (
        open_variance
        + _YANG_ZHANG_K * body_variance
        + (1.0 - _YANG_ZHANG_K) * (np.maximum(day.rogers_satchell, 0.0) / 24.0)
    )
    mean = stage.short.close_20 / 20.0
    band = 2.0 * np.sqrt(stage.short.moment_20 / 20.0)
    return [
        sd_24,
        np.where(flat, 0.0, np.log(np.where(flat, 1.0, sd_24) / np.where(flat, 1.0, sd_168))),
        np.sqrt(day.range_square / (4.0 * 24.0 * _LOG_2)),
        np.sqrt(np.maximum(garman_klass, 0.0)),
        np.sqrt(yang_zhang),
        stage.smoothed.atr / close,
        2.0 * band / mean,
        ratio(close - (mean - band), 2.0 * band, 0.5),
        ratio(day.fall_square, day.ret_square, 0.5),
    ]


def _volume(stage: Stage) -> list[FloatArray]:
    bar, day, short = stage.bar, stage.day, stage.short
    mean_24, mean_168 = day.volume / 24.0, stage.week.volume / 168.0
    typical_24 = ratio(day.money, day.volume, 0.0)
    average_price = np.where(day.volume <= 0.0, day.typical / 24.0, typical_24)
    flow_14 = short.positive_flow_14 + short.negative_flow_14
    return [
        np.where(mean_24 <= 0.0, 0.0, np.log(1.0 + ratio(bar.volume, mean_24, 0.0)) - _LOG_2),
        np.where(mean_168 <= 0.0, 0.0, np.log(1.0 + ratio(mean_24, mean_168, 0.0)) - _LOG_2),
        bar.close / average_price - 1.0,
        ratio(day.signed_volume, day.volume, 0.0),
        ratio(short.accumulation_20, short.volume_20, 0.0),
        ratio(short.positive_flow_14, flow_14, 0.5),
    ]


def _candle(stage: Stage) -> list[FloatArray]:
    bar = stage.bar
    height = bar.high - bar.low
    return [
        ratio(bar.close - bar.open, height, 0.0),
        ratio(bar.high - np.maximum(bar.open, bar.close), height, 0.0),
        ratio(np.minimum(bar.open, bar.close) - bar.low, height, 0.0),
        ratio(stage.true_range, stage.smoothed.atr, 0.0),
    ]


def _time(stage: Stage) -> list[FloatArray]:
    day = 2.0 * pi * (stage.close_time % _DAY) / _DAY
    week = 2.0 * pi * ((stage.close_time + _EPOCH_TO_MONDAY) % _WEEK) / _WEEK
    return [np.sin(day), np.cos(day), np.sin(week), np.cos(week)]


def _cross(stage: Stage) -> list[FloatArray]:
    week = stage.week
    variance = _central(week.ret_square, week.ret, 168)
    factor_variance = _central(week.factor_square, week.factor, 168)
    covariance = week.product - week.ret * week.factor / 168.0
    beta = ratio(covariance, factor_variance, 0.0)
    correlation = ratio(covariance, np.sqrt(variance * factor_variance), 0.0)
    return [
        stage.factor_move_24,
        beta,
        np.clip(correlation, -1.0, 1.0),
        stage.log_moves[4] - beta * stage.factor_move_24,
    ]
