"""The last stage: from window sums and recursive averages to the 51 values, in one place for every engine.

Everything is elementwise, so it gives the same bits for one bar and for a whole history. Formulas: TA-Lib
conventions where a name is shared; Parkinson (1980), Garman and Klass (1980), Yang and Zhang (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import numpy as np

from svc_signal.candles import FloatArray, IntArray
from svc_signal.features.barterms import Bar
from svc_signal.features.definition import FEATURE_COUNT, INDEX, LAGS
from svc_signal.features.scratch import Scratch

_FLAT = 1e-12
_LAG_24 = LAGS.index(24)
_LOG_2 = log(2.0)
_LOG_RANGE = 4.0 * 24.0 * _LOG_2
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
    stochastic_3: FloatArray
    """Sum of the last 3 of the stochastic."""
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
    """All that the last stage reads for a bar; `log_moves` (7, ...) are the log returns of `definition.LAGS`."""

    bar: Bar
    close_time: IntArray
    ret: FloatArray
    true_range: FloatArray
    height: FloatArray
    stochastic_k: FloatArray
    log_moves: FloatArray
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


_WORK_ROWS = ("pressure_7", "pressure_14", "pressure_28", "vwap_24")
_ROW = {**INDEX, **{name: FEATURE_COUNT + place for place, name in enumerate(_WORK_ROWS)}}
_QUOTIENTS = 23
_LOG_ROWS = [_ROW["relvol_24"], _ROW["relvol_24_168"], _ROW["vol_ratio_24_168"]]


@dataclass(frozen=True, slots=True)
class _Spread:
    """What follows from the second moments of the windows."""

    ret_variance: FloatArray
    """Times 167."""
    sd_24: FloatArray
    sd_168: FloatArray
    parkinson: FloatArray
    garman_klass: FloatArray
    yang_zhang: FloatArray
    mean_20: FloatArray
    band_20: FloatArray
    """Two population deviations of the close."""


class _Quotients:
    """Divides into the rows; `neutral` stands where a denominator is not above zero.

    Whether any is not is asked once for all of them: for one bar of many products a pass costs little more than its
    call, and an empty denominator is rare.
    """

    __slots__ = ("_below", "_names", "_neutral", "_rows")

    def __init__(self, rows: FloatArray, scratch: Scratch) -> None:
        self._rows = rows
        self._below = scratch.rows(_QUOTIENTS)
        self._names: list[str] = []
        self._neutral: list[float] = []

    def plain(self, name: str, numerator: FloatArray, denominator: FloatArray) -> None:
        """For a denominator that is a price, and so above zero."""
        np.divide(numerator, denominator, out=self._rows[_ROW[name]])

    def add(self, name: str, numerator: FloatArray, denominator: FloatArray, neutral: float) -> None:
        self._below[len(self._names)] = denominator
        self._names.append(name)
        self._neutral.append(neutral)
        np.divide(numerator, denominator, out=self._rows[_ROW[name]])

    def settle(self) -> None:
        empty = self._below[: len(self._names)] <= 0.0
        if empty.any():
            for name, neutral, where in zip(self._names, self._neutral, empty, strict=True):
                np.copyto(self._rows[_ROW[name]], neutral, where=where)


def last_stage(stage: Stage, scratch: Scratch) -> LastStage:
    """All 51 values, in `scratch`."""
    rows = scratch.rows(len(_ROW))
    spread = _spread(stage, scratch)
    quotients = _Quotients(rows, scratch)
    quotients.add("ret_z_24", stage.ret - stage.day.ret / 24.0, spread.sd_24, 0.0)
    _trend(quotients, stage, spread)
    _momentum(quotients, stage)
    _volatility(quotients, stage, spread)
    _volume(quotients, stage)
    _candle(quotients, stage)
    _cross(quotients, stage, spread)
    quotients.settle()
    rows[:7] = stage.log_moves
    _finish_trend(rows, stage)
    _finish_momentum(rows, stage)
    _finish_volatility(rows, spread)
    _finish_volume(rows, stage)
    _time(rows, stage)
    _finish_cross(rows, stage)
    return LastStage(rows[:FEATURE_COUNT], spread.sd_24, spread.sd_168)


def _central(square: FloatArray, total: FloatArray, count: FloatArray | float, out: FloatArray) -> FloatArray:
    """Centred second moment; what is only rounding of `square` counts as zero."""
    np.multiply(total, total, out=out)
    out /= count
    np.subtract(square, out, out=out)
    flat = out <= _FLAT * square
    if flat.any():
        out[flat] = 0.0
    return out


def _spread(stage: Stage, scratch: Scratch) -> _Spread:
    day, week = stage.day, stage.week
    shape = stage.bar.close.shape
    squares, totals = scratch.rows(4), scratch.rows(4)
    squares[0], squares[1], squares[2], squares[3] = day.gap_square, day.body_square, day.ret_square, week.ret_square
    totals[0], totals[1], totals[2], totals[3] = day.gap, day.body, day.ret, week.ret
    counts = np.array([24.0, 24.0, 24.0, 168.0]).reshape(-1, *(1 for _ in shape))
    moments = _central(squares, totals, counts, scratch.rows(4))
    variances = np.divide(moments, counts - 1.0, out=totals)
    mean_square = scratch.rows(6)
    mean_square[:2] = variances[2:]
    np.divide(day.range_square, _LOG_RANGE, out=mean_square[2])
    garman_klass = (0.5 * day.range_square - (2.0 * _LOG_2 - 1.0) * day.body_square) / 24.0
    np.maximum(garman_klass, 0.0, out=mean_square[3])
    rogers_satchell = np.maximum(day.rogers_satchell, 0.0) / 24.0
    mean_square[4] = variances[0] + _YANG_ZHANG_K * variances[1] + (1.0 - _YANG_ZHANG_K) * rogers_satchell
    np.divide(stage.short.moment_20, 20.0, out=mean_square[5])
    roots = np.sqrt(mean_square, out=mean_square)
    return _Spread(
        ret_variance=moments[3],
        sd_24=roots[0],
        sd_168=roots[1],
        parkinson=roots[2],
        garman_klass=roots[3],
        yang_zhang=roots[4],
        mean_20=stage.short.close_20 / 20.0,
        band_20=2.0 * roots[5],
    )


def _trend(quotients: _Quotients, stage: Stage, spread: _Spread) -> None:
    close, smooth = stage.bar.close, stage.smoothed
    macd = smooth.ema_12 - smooth.ema_26
    quotients.plain("sma_dist_20", close, spread.mean_20)
    quotients.plain("sma_dist_50", close, stage.short.close_50 / 50.0)
    quotients.plain("sma_dist_168", close, stage.week.close / 168.0)
    quotients.plain("ppo_12_26", macd, smooth.ema_26)
    quotients.add("macd_hist_atr", macd - smooth.macd_signal, smooth.atr, 0.0)
    quotients.add("di_diff_14", smooth.plus - smooth.minus, smooth.range_sum, 0.0)
    quotients.plain("trix_12", smooth.trix, smooth.trix_before)


def _momentum(quotients: _Quotients, stage: Stage) -> None:
    smooth, short = stage.smoothed, stage.short
    quotients.add("rsi_14", smooth.gain, smooth.gain + smooth.loss, 0.5)
    quotients.add("er_24", np.abs(stage.move_24), stage.day.path, 0.0)
    for name, pressure, ranges in zip(_WORK_ROWS[:3], short.pressure, short.ranges, strict=True):
        quotients.add(name, pressure, ranges, 0.5)


def _volatility(quotients: _Quotients, stage: Stage, spread: _Spread) -> None:
    width = 2.0 * spread.band_20
    quotients.add("vol_ratio_24_168", spread.sd_24, spread.sd_168, 1.0)
    quotients.plain("natr_14", stage.smoothed.atr, stage.bar.close)
    quotients.plain("bb_width_20", width, spread.mean_20)
    quotients.add("bb_pctb_20", stage.bar.close - (spread.mean_20 - spread.band_20), width, 0.5)
    quotients.add("downside_share_24", stage.day.fall_square, stage.day.ret_square, 0.5)


def _volume(quotients: _Quotients, stage: Stage) -> None:
    day, short = stage.day, stage.short
    mean_24 = day.volume / 24.0
    quotients.add("relvol_24", stage.bar.volume, mean_24, 0.0)
    quotients.add("relvol_24_168", mean_24, stage.week.volume / 168.0, 0.0)
    quotients.add("vwap_24", day.money, day.volume, 0.0)
    quotients.add("obv_flow_24", day.signed_volume, day.volume, 0.0)
    quotients.add("cmf_20", short.accumulation_20, short.volume_20, 0.0)
    quotients.add("mfi_14", short.positive_flow_14, short.positive_flow_14 + short.negative_flow_14, 0.5)


def _candle(quotients: _Quotients, stage: Stage) -> None:
    bar, height = stage.bar, stage.height
    quotients.add("body", bar.close - bar.open, height, 0.0)
    quotients.add("upper_wick", bar.high - np.maximum(bar.open, bar.close), height, 0.0)
    quotients.add("lower_wick", np.minimum(bar.open, bar.close) - bar.low, height, 0.0)
    quotients.add("range_atr", stage.true_range, stage.smoothed.atr, 0.0)


def _cross(quotients: _Quotients, stage: Stage, spread: _Spread) -> None:
    week = stage.week
    factor_variance = _central(week.factor_square, week.factor, 168.0, np.empty_like(week.factor))
    covariance = week.product - week.ret * week.factor / 168.0
    quotients.add("beta_168", covariance, factor_variance, 0.0)
    quotients.add("corr_168", covariance, np.sqrt(spread.ret_variance * factor_variance), 0.0)


def _finish_trend(rows: FloatArray, stage: Stage) -> None:
    first = _ROW["sma_dist_20"]
    rows[first : first + 3] -= 1.0
    rows[_ROW["trix_12"]] -= 1.0
    rows[_ROW["adx_14"]] = stage.smoothed.adx
    rows[_ROW["aroon_osc_25"]] = (stage.short.low_age_26 - stage.short.high_age_26) / 25.0
    rows[_ROW["linreg_slope_24"]] = stage.short.slope_24


def _finish_momentum(rows: FloatArray, stage: Stage) -> None:
    pressure = rows[_ROW["pressure_7"] :]
    rows[_ROW["stoch_k_14"]] = stage.stochastic_k
    np.divide(stage.short.stochastic_3, 3.0, out=rows[_ROW["stoch_d_14_3"]])
    rows[_ROW["ultosc_7_14_28"]] = (4.0 * pressure[0] + 2.0 * pressure[1] + pressure[2]) / 7.0
    np.divide(stage.day.ups, 24.0, out=rows[_ROW["up_share_24"]])


def _finish_volatility(rows: FloatArray, spread: _Spread) -> None:
    rows[_ROW["vol_cc_24"]] = spread.sd_24
    rows[_ROW["parkinson_24"]] = spread.parkinson
    rows[_ROW["garman_klass_24"]] = spread.garman_klass
    rows[_ROW["yang_zhang_24"]] = spread.yang_zhang
    flat = (spread.sd_24 <= 0.0) | (spread.sd_168 <= 0.0)
    if flat.any():
        rows[_ROW["vol_ratio_24_168"]][flat] = 1.0


def _finish_volume(rows: FloatArray, stage: Stage) -> None:
    day = stage.day
    first = _ROW["relvol_24"]
    rows[first : first + 2] += 1.0
    logs = np.log(rows[_LOG_ROWS])
    rows[_ROW["vol_ratio_24_168"]] = logs[2]
    np.subtract(logs[:2], _LOG_2, out=rows[first : first + 2])
    average_price = rows[_ROW["vwap_24"]]
    idle = day.volume <= 0.0
    if idle.any():
        rows[first][idle] = 0.0
        rows[first + 1][stage.week.volume <= 0.0] = 0.0
        average_price = np.where(idle, day.typical / 24.0, average_price)
    vwap_distance = rows[_ROW["vwap_dist_24"]]
    np.divide(stage.bar.close, average_price, out=vwap_distance)
    vwap_distance -= 1.0


def _time(rows: FloatArray, stage: Stage) -> None:
    time = stage.close_time
    day = 2.0 * pi * (time % _DAY) / _DAY
    week = 2.0 * pi * ((time + _EPOCH_TO_MONDAY) % _WEEK) / _WEEK
    for name, angle in (("hour", day), ("dow", week)):
        rows[_ROW[f"{name}_sin"]] = np.sin(angle)
        rows[_ROW[f"{name}_cos"]] = np.cos(angle)


def _finish_cross(rows: FloatArray, stage: Stage) -> None:
    correlation = rows[_ROW["corr_168"]]
    rows[_ROW["mkt_ret_24"]] = stage.factor_move_24
    np.minimum(correlation, 1.0, out=correlation)
    np.maximum(correlation, -1.0, out=correlation)
    np.subtract(stage.log_moves[_LAG_24], rows[_ROW["beta_168"]] * stage.factor_move_24, out=rows[_ROW["resid_ret_24"]])
