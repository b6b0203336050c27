"""The last stage: from window sums and recursive averages to the 51 values, in one place for every engine.

Every cell, a bar of a product, is computed by itself, so it gives the same bits for one bar and for a whole history.
Formulas: TA-Lib conventions where a name is shared; Parkinson (1980), Garman and Klass (1980), Yang and Zhang (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from modelkit.candles import FloatArray
from modelkit.features import rows as r
from modelkit.features.compiled import compiled, larger, one_if, ratio, smaller

_FLAT = 1e-12
_LOG_2 = log(2.0)
_LOG_RANGE = 4.0 * 24.0 * _LOG_2
_BODY_SHARE = 2.0 * _LOG_2 - 1.0
_YANG_ZHANG_K = 0.34 / (1.34 + 25.0 / 23.0)


@dataclass(slots=True)
class Stage:
    """All that the last stage reads of a bar, (rows, cells) in the order of `features.rows`, or (cells).

    Engines write some features themselves, into `values`: the log returns, stoch_k_14, linreg_slope_24, and into
    stoch_d_14_3 the sum of 3 bars.
    """

    values: FloatArray
    """(51, cells), the result."""
    bar: FloatArray
    time: FloatArray
    """(4, cells) or (4, 1) of `features.daytime`."""
    ret: FloatArray
    own: FloatArray
    move_24: FloatArray
    factor_move_24: FloatArray
    day: FloatArray
    """Sums of DAY_LONG, DAY_SHORT over the last 24 bars."""
    week: FloatArray
    """Sums of WEEK_LONG over the last 168 bars."""
    factor_week: FloatArray
    """Sums of the factor's return and its square."""
    short_20: FloatArray
    """Sums of close, volume and accumulation over 20 bars."""
    moment_20: FloatArray
    close_50: FloatArray
    swings: FloatArray
    """(8, cells): sums of buying pressure and range over 28, 7 and 14 bars, then of positive and negative flow over 14."""
    ages_26: FloatArray
    """Bars since the highest high and the lowest low."""
    smoothed: FloatArray
    trix_before: FloatArray
    deviations: FloatArray
    """(2, cells), a result: those of the return over 24 and 168 bars."""


@dataclass(frozen=True, slots=True)
class LastStage:
    """`values` is (51, ...); the two deviations per bar are what labels and decisions scale their barriers
    with."""

    values: FloatArray
    sd_24: FloatArray
    sd_168: FloatArray


def last_stage(stage: Stage) -> LastStage:
    """All 51 values."""
    values, bar, day, week, smoothed = stage.values, stage.bar, stage.day, stage.week, stage.smoothed
    sd_24, sd_168 = stage.deviations
    _volatility(
        bar, stage.ret, day, week, stage.short_20[0], stage.moment_20, smoothed[r.ATR], stage.deviations, values
    )
    _trend(bar[r.CLOSE], stage.short_20[0], stage.close_50, week[r.LONG_CLOSE], smoothed, stage.ages_26, values)
    _momentum(smoothed, stage.trix_before, stage.swings, stage.move_24, day, values)
    _volume(bar, day, week, stage.short_20, stage.swings, values)
    _candle(bar, stage.own, smoothed[r.ATR], values)
    _cross(week, sd_168, stage.factor_week, stage.factor_move_24, values)
    values[r.HOUR_SIN : r.DOW_COS + 1] = stage.time
    # Logarithms are numpy's, so that they are the same bits wherever they are taken.
    for row in (r.VOL_RATIO_24_168, r.RELVOL_24, r.RELVOL_24_168):
        np.log(values[row], values[row])
    _relative_volume(day, week, values)
    return LastStage(values, sd_24, sd_168)


@compiled
def _central(square: float, total: float, count: float) -> float:
    """Centred second moment; what is only rounding of `square` counts as zero."""
    moment = square - total * total / count
    return 0.0 if moment <= square * _FLAT else moment


@compiled
def _volatility(
    bar: FloatArray,
    ret: FloatArray,
    day: FloatArray,
    week: FloatArray,
    close_20: FloatArray,
    moment_20: FloatArray,
    atr: FloatArray,
    deviations: FloatArray,
    values: FloatArray,
) -> None:
    """vol_ratio_24_168 is left as the ratio."""
    for i in range(len(ret)):
        sd_24 = sqrt(_central(day[r.DAY_RET_SQUARE, i], day[r.DAY_RET, i], 24.0) / 23.0)
        sd_168 = sqrt(_central(week[r.RET_SQUARE, i], week[r.RET, i], 168.0) / 167.0)
        deviations[0, i], deviations[1, i] = sd_24, sd_168
        values[r.VOL_CC_24, i] = sd_24
        values[r.VOL_RATIO_24_168, i] = 1.0 if sd_24 <= 0.0 else ratio(sd_24, sd_168, 1.0)
        values[r.RET_Z_24, i] = ratio(ret[i] - day[r.DAY_RET, i] / 24.0, sd_24, 0.0)
        falls = day[r.DAY_FIRST + r.FALL_SQUARE, i]
        values[r.DOWNSIDE_SHARE_24, i] = ratio(falls, day[r.DAY_RET_SQUARE, i], 0.5)
        range_square, body_square = day[r.DAY_FIRST + r.RANGE_SQUARE, i], day[r.DAY_FIRST + r.BODY_SQUARE, i]
        values[r.PARKINSON_24, i] = sqrt(range_square / _LOG_RANGE)
        values[r.GARMAN_KLASS_24, i] = sqrt(larger((range_square * 0.5 - body_square * _BODY_SHARE) / 24.0, 0.0))
        gap = _central(day[r.DAY_FIRST + r.GAP_SQUARE, i], day[r.DAY_FIRST + r.GAP, i], 24.0) / 23.0
        body = _central(body_square, day[r.DAY_FIRST + r.BODY, i], 24.0) / 23.0
        satchell = larger(day[r.DAY_FIRST + r.ROGERS_SATCHELL, i], 0.0) / 24.0
        values[r.YANG_ZHANG_24, i] = sqrt((body * _YANG_ZHANG_K + gap) + satchell * (1.0 - _YANG_ZHANG_K))
        close, mean = bar[r.CLOSE, i], close_20[i] / 20.0
        band = sqrt(moment_20[i] / 20.0) * 2.0
        values[r.BB_WIDTH_20, i] = band * 2.0 / mean
        values[r.BB_PCTB_20, i] = ratio(close - (mean - band), band * 2.0, 0.5)
        values[r.NATR_14, i] = atr[i] / close


@compiled
def _trend(
    close: FloatArray,
    close_20: FloatArray,
    close_50: FloatArray,
    close_168: FloatArray,
    smoothed: FloatArray,
    ages_26: FloatArray,
    values: FloatArray,
) -> None:
    for i in range(len(close)):
        values[r.SMA_DIST_20, i] = close[i] / (close_20[i] / 20.0) - 1.0
        values[r.SMA_DIST_50, i] = close[i] / (close_50[i] / 50.0) - 1.0
        values[r.SMA_DIST_168, i] = close[i] / (close_168[i] / 168.0) - 1.0
        macd = smoothed[r.EMA_12, i] - smoothed[r.EMA_26, i]
        values[r.PPO_12_26, i] = macd / smoothed[r.EMA_26, i]
        values[r.MACD_HIST_ATR, i] = ratio(macd - smoothed[r.MACD_SIGNAL, i], smoothed[r.ATR, i], 0.0)
        values[r.ADX_14, i] = smoothed[r.ADX, i]
        values[r.DI_DIFF_14, i] = ratio(smoothed[r.PLUS, i] - smoothed[r.MINUS, i], smoothed[r.RANGE_SUM, i], 0.0)
        values[r.AROON_OSC_25, i] = (ages_26[1, i] - ages_26[0, i]) / 25.0


@compiled
def _momentum(
    smoothed: FloatArray,
    trix_before: FloatArray,
    swings: FloatArray,
    move_24: FloatArray,
    day: FloatArray,
    values: FloatArray,
) -> None:
    for i in range(len(trix_before)):
        gain = smoothed[r.GAIN, i]
        values[r.RSI_14, i] = ratio(gain, gain + smoothed[r.LOSS, i], 0.5)
        values[r.STOCH_D_14_3, i] /= 3.0
        pressure_28, pressure_7 = ratio(swings[0, i], swings[1, i], 0.5), ratio(swings[2, i], swings[3, i], 0.5)
        pressure_14 = ratio(swings[4, i], swings[5, i], 0.5)
        values[r.ULTOSC_7_14_28, i] = ((pressure_7 * 4.0 + pressure_14 * 2.0) + pressure_28) / 7.0
        values[r.TRIX_12, i] = smoothed[r.TRIX, i] / trix_before[i] - 1.0
        values[r.ER_24, i] = ratio(abs(move_24[i]), day[r.DAY_FIRST + r.PATH, i], 0.0)
        values[r.UP_SHARE_24, i] = day[r.DAY_FIRST + r.UP, i] / 24.0


@compiled
def _volume(
    bar: FloatArray, day: FloatArray, week: FloatArray, short_20: FloatArray, swings: FloatArray, values: FloatArray
) -> None:
    """relvol_24 and relvol_24_168 are left as the sums that the logarithm is taken of."""
    for i in range(bar.shape[1]):
        volume = day[r.DAY_VOLUME, i]
        mean_24, mean_168 = volume / 24.0, week[r.LONG_VOLUME, i] / 168.0
        values[r.RELVOL_24, i] = ratio(bar[r.VOLUME, i], mean_24, 0.0) + 1.0
        values[r.RELVOL_24_168, i] = ratio(mean_24, mean_168, 0.0) + 1.0
        average = day[r.DAY_FIRST + r.TYPICAL, i] / 24.0 if volume <= 0.0 else day[r.DAY_FIRST + r.MONEY, i] / volume
        values[r.VWAP_DIST_24, i] = bar[r.CLOSE, i] / average - 1.0
        values[r.OBV_FLOW_24, i] = ratio(day[r.DAY_FIRST + r.SIGNED, i], volume, 0.0)
        values[r.CMF_20, i] = ratio(short_20[2, i], short_20[1, i], 0.0)
        values[r.MFI_14, i] = ratio(swings[6, i], swings[6, i] + swings[7, i], 0.5)


@compiled
def _candle(bar: FloatArray, own: FloatArray, atr: FloatArray, values: FloatArray) -> None:
    for i in range(len(atr)):
        open, close, height = bar[r.OPEN, i], bar[r.CLOSE, i], own[r.HEIGHT, i]
        values[r.BODY_SHARE, i] = ratio(close - open, height, 0.0)
        values[r.UPPER_WICK, i] = ratio(bar[r.HIGH, i] - larger(open, close), height, 0.0)
        values[r.LOWER_WICK, i] = ratio(smaller(open, close) - bar[r.LOW, i], height, 0.0)
        values[r.RANGE_ATR, i] = ratio(own[r.TRUE_RANGE, i], atr[i], 0.0)


@compiled
def _cross(
    week: FloatArray, sd_168: FloatArray, factor_week: FloatArray, factor_move_24: FloatArray, values: FloatArray
) -> None:
    """The return beside the factor's. `factor_*` have a value for each cell, or one for all."""
    for i in range(week.shape[1]):
        at = i if factor_week.shape[1] > 1 else 0
        factor, factor_square = factor_week[0, at], factor_week[1, at]
        variance = factor_square - factor * factor / 168.0
        variance *= one_if(variance > _FLAT * factor_square)
        own = _central(week[r.RET_SQUARE, i], week[r.RET, i], 168.0)
        covariance = week[r.PRODUCT, i] - week[r.RET, i] * factor / 168.0
        beta = ratio(covariance, variance, 0.0)
        correlation = ratio(covariance, sqrt(own * variance), 0.0)
        values[r.MKT_RET_24, i] = factor_move_24[at]
        values[r.BETA_168, i] = beta
        values[r.CORR_168, i] = larger(smaller(correlation, 1.0), -1.0)
        values[r.RESID_RET_24, i] = values[r.RET_24, i] - beta * factor_move_24[at]


@compiled
def _relative_volume(day: FloatArray, week: FloatArray, values: FloatArray) -> None:
    for i in range(values.shape[1]):
        values[r.RELVOL_24, i] = 0.0 if day[r.DAY_VOLUME, i] <= 0.0 else values[r.RELVOL_24, i] - _LOG_2
        idle = week[r.LONG_VOLUME, i] <= 0.0
        values[r.RELVOL_24_168, i] = 0.0 if idle else values[r.RELVOL_24_168, i] - _LOG_2
