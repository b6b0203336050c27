"""The last stage: from window sums and recursive averages to the 51 values, in one place for every engine.

Everything is elementwise, so it gives the same bits for one bar and for a whole history. Formulas: TA-Lib
conventions where a name is shared; Parkinson (1980), Garman and Klass (1980), Yang and Zhang (2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from svc_signal.candles import BoolArray, FloatArray
from svc_signal.features.barterms import ratio
from svc_signal.features.definition import FEATURE_COUNT, INDEX, LAGS, NAMES
from svc_signal.features.memory import aligned
from svc_signal.features.rows import (
    ADX,
    ATR,
    BODY_SQUARE,
    CLOSE,
    DAY_FIRST,
    DAY_RET,
    DAY_RET_SQUARE,
    DAY_VOLUME,
    EMA_12,
    EMA_26,
    FALL_SQUARE,
    GAIN,
    GAP,
    HIGH,
    LONG_CLOSE,
    LONG_VOLUME,
    LOSS,
    LOW,
    MACD_SIGNAL,
    MINUS,
    MONEY,
    OPEN,
    PATH,
    PLUS,
    PRODUCT,
    RANGE_SQUARE,
    RANGE_SUM,
    RET,
    RET_SQUARE,
    ROGERS_SATCHELL,
    SIGNED,
    TRIX,
    TYPICAL,
    UP,
    VOLUME,
)

_FLAT = 1e-12
_LAG_24 = LAGS.index(24)
_LOG_2 = log(2.0)
_LOG_RANGE = 4.0 * 24.0 * _LOG_2
_YANG_ZHANG_K = 0.34 / (1.34 + 25.0 / 23.0)

_FIRST, _END = INDEX["ret_z_24"], INDEX["corr_168"] + 1
"""The features between them are one division of two matrices; one that is no quotient is divided by one."""
_SPREAD, _TIME = INDEX["vol_cc_24"], INDEX["hour_sin"]
_NEUTRAL = {
    "ret_z_24": 0.0,
    "macd_hist_atr": 0.0,
    "di_diff_14": 0.0,
    "rsi_14": 0.5,
    "er_24": 0.0,
    "vol_ratio_24_168": 1.0,
    "bb_pctb_20": 0.5,
    "downside_share_24": 0.5,
    "relvol_24": 0.0,
    "relvol_24_168": 0.0,
    "obv_flow_24": 0.0,
    "cmf_20": 0.0,
    "mfi_14": 0.5,
    "body": 0.0,
    "upper_wick": 0.0,
    "lower_wick": 0.0,
    "range_atr": 0.0,
    "beta_168": 0.0,
    "corr_168": 0.0,
}
"""Value where the denominator is not above zero; other denominators are prices or counts, and so above it."""
_COUNTS = {"aroon_osc_25": 25.0, "stoch_d_14_3": 3.0, "ultosc_7_14_28": 7.0, "up_share_24": 24.0}


Rows = FloatArray | Sequence[FloatArray]
"""A matrix, or its rows where each is read alone: naming a row costs a tenth of the arithmetic on a thousand products."""


@dataclass(slots=True)
class Stage:
    """All that the last stage reads of a bar besides what `Work` holds already; rows are in the order of `features.rows`."""

    bar: Rows
    time: FloatArray
    """(4, bars) of `features.daytime`."""
    ret: FloatArray
    true_range: FloatArray
    height: FloatArray
    move_24: FloatArray
    factor_move_24: FloatArray
    day: Rows
    """Sums of DAY_LONG, DAY_SHORT over the last 24 bars."""
    week: Rows
    """Sums of WEEK_LONG over the last 168 bars."""
    gap_body: FloatArray
    """Of the day's sums those of gap and body, and of their squares (2, 2)."""
    returns: tuple[FloatArray, FloatArray]
    """Of both the sums of return and squared return (2)."""
    factor_week: FloatArray
    """Sums of the factor's return and its square."""
    short_20: FloatArray
    """Sums of close, volume and accumulation over 20 bars."""
    moment_20: FloatArray
    close_50: FloatArray
    swings: FloatArray
    """(3, 2): sums of buying pressure and range over 28, 7 and 14 bars."""
    flows_14: FloatArray
    """Sums of positive and negative flow."""
    ages_26: FloatArray
    """Bars since the highest high and the lowest low."""
    smoothed: Rows
    trix_before: FloatArray


@dataclass(frozen=True, slots=True)
class LastStage:
    """`values` is (51, ...); the two deviations per bar are what labels and decisions scale their barriers
    with."""

    values: FloatArray
    sd_24: FloatArray
    sd_168: FloatArray


def gap_body(day: FloatArray) -> FloatArray:
    """`Stage.gap_body` of the day's sums."""
    return day[DAY_FIRST + GAP : DAY_FIRST + BODY_SQUARE + 1].reshape(2, 2, *day.shape[1:])


def returns(day: FloatArray, week: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`Stage.returns` of both."""
    return day[DAY_RET : DAY_RET_SQUARE + 1], week[RET : RET_SQUARE + 1]


class Work:
    """Result and work memory of the last stage for bars of one shape.

    Memory asked of the system and given back at every bar costs more in page faults than the arithmetic. Engines write
    some features here themselves: `log_moves`, stoch_k_14, linreg_slope_24, and into stoch_d_14_3 the sum of 3 bars.
    """

    __slots__ = (
        "above",
        "below",
        "counts",
        "degrees",
        "denominators",
        "empty",
        "flat",
        "moments",
        "spare",
        "values",
        "variances",
    )

    def __init__(self, *shape: int) -> None:
        self.values = aligned(FEATURE_COUNT, *shape)
        self.denominators = aligned(_END - _FIRST, *shape, fill=1.0)
        self.above = {name: self.values[row] for name, row in INDEX.items()}
        """The features, until the division their numerators."""
        self.below = dict(zip(NAMES[_FIRST:_END], self.denominators, strict=True))
        for name, count in _COUNTS.items():
            self.below[name].fill(count)
        self.empty = np.empty(self.denominators.shape, dtype=np.bool_)
        self.moments, self.spare = aligned(2, 4, *shape), aligned(4, *shape)
        self.flat = np.empty((4, *shape), dtype=np.bool_)
        self.variances = aligned(4, *shape)
        self.counts = np.array([24.0, 24.0, 24.0, 168.0]).reshape(-1, *(1 for _ in shape))
        self.degrees = self.counts - 1.0

    @property
    def log_moves(self) -> FloatArray:
        """The log returns of `definition.LAGS` (7, ...), which are features as they are."""
        return self.values[: len(LAGS)]


def last_stage(stage: Stage, work: Work) -> LastStage:
    """All 51 values, in `work`."""
    deviation_20, ret_variance = _spread(stage, work)
    _trend(stage, work)
    _momentum(stage, work)
    _volatility(stage, work, deviation_20)
    _volume(stage, work)
    _candle(stage, work)
    _cross(stage, work, ret_variance)
    quotients = np.divide(work.values[_FIRST:_END], work.denominators, work.values[_FIRST:_END])
    empty = np.less_equal(work.denominators, 0.0, work.empty)
    some_empty = bool(empty.any())  # rare: masked copies cost more than the division
    if some_empty:
        _mend(quotients, empty)
    _finish(stage, work)
    if some_empty:
        _mend_idle(stage, work)
    return LastStage(work.values, work.above["vol_cc_24"], work.below["vol_ratio_24_168"])


def _spread(stage: Stage, work: Work) -> tuple[FloatArray, FloatArray]:
    """(population deviation of the close over 20 bars, 167 times the variance of the return over 168 bars).

    Deviations over 24 and 168 bars, Parkinson, Garman and Klass, Yang and Zhang are written where features are.
    """
    day, (totals, squares), variances, spare = stage.day, work.moments, work.variances, work.spare
    totals[:2], squares[:2] = stage.gap_body
    work.moments[:, 2], work.moments[:, 3] = stage.returns
    central = _central(squares, totals, work.counts, totals, spare, work.flat)
    gap, body = np.divide(central, work.degrees, variances)[:2]
    roots = work.values[_SPREAD : _SPREAD + 6]
    sd_24, sd_168, parkinson, garman_klass, yang_zhang, moment_20 = roots
    roots[:2] = variances[2:]
    range_square, satchell = day[DAY_FIRST + RANGE_SQUARE], spare[0]
    np.divide(range_square, _LOG_RANGE, parkinson)
    np.multiply(range_square, 0.5, garman_klass)
    np.multiply(day[DAY_FIRST + BODY_SQUARE], 2.0 * _LOG_2 - 1.0, satchell)
    garman_klass -= satchell
    garman_klass /= 24.0
    np.maximum(garman_klass, 0.0, out=garman_klass)
    np.maximum(day[DAY_FIRST + ROGERS_SATCHELL], 0.0, out=satchell)
    satchell /= 24.0
    satchell *= 1.0 - _YANG_ZHANG_K
    np.multiply(body, _YANG_ZHANG_K, yang_zhang)
    yang_zhang += gap
    yang_zhang += satchell
    np.divide(stage.moment_20, 20.0, moment_20)
    np.sqrt(roots, roots)
    work.below["vol_ratio_24_168"][...] = sd_168
    sd_168[...] = work.below["ret_z_24"][...] = sd_24
    return moment_20, central[3]


def _central(
    square: FloatArray,
    total: FloatArray,
    count: FloatArray | float,
    out: FloatArray,
    rounding: FloatArray,
    flat: BoolArray,
) -> FloatArray:
    """Centred second moment; what is only rounding of `square` counts as zero."""
    np.multiply(total, total, out)
    out /= count
    np.subtract(square, out, out)
    np.multiply(square, _FLAT, rounding)
    np.less_equal(out, rounding, flat)
    if flat.any():
        out[flat] = 0.0
    return out


def _trend(stage: Stage, work: Work) -> None:
    close, smooth, above, below = stage.bar[CLOSE], stage.smoothed, work.above, work.below
    first = INDEX["sma_dist_20"]
    work.values[first : first + 3] = close
    np.divide(stage.short_20[0], 20.0, below["sma_dist_20"])
    np.divide(stage.close_50, 50.0, below["sma_dist_50"])
    np.divide(stage.week[LONG_CLOSE], 168.0, below["sma_dist_168"])
    macd = np.subtract(smooth[EMA_12], smooth[EMA_26], above["ppo_12_26"])
    below["ppo_12_26"][...] = smooth[EMA_26]
    np.subtract(macd, smooth[MACD_SIGNAL], above["macd_hist_atr"])
    below["macd_hist_atr"][...] = smooth[ATR]
    above["adx_14"][...] = smooth[ADX]
    np.subtract(smooth[PLUS], smooth[MINUS], above["di_diff_14"])
    below["di_diff_14"][...] = smooth[RANGE_SUM]
    np.subtract(stage.ages_26[1], stage.ages_26[0], above["aroon_osc_25"])


def _momentum(stage: Stage, work: Work) -> None:
    smooth, above, below = stage.smoothed, work.above, work.below
    above["rsi_14"][...] = smooth[GAIN]
    np.add(smooth[GAIN], smooth[LOSS], below["rsi_14"])
    pressure_28, pressure_7, pressure_14 = ratio(stage.swings[:, 0], stage.swings[:, 1], 0.5, out=work.spare[:3])
    pressure_7 *= 4.0
    pressure_14 *= 2.0
    pressure_7 += pressure_14
    np.add(pressure_7, pressure_28, above["ultosc_7_14_28"])
    np.divide(smooth[TRIX], stage.trix_before, above["trix_12"])
    np.abs(stage.move_24, above["er_24"])
    below["er_24"][...] = stage.day[DAY_FIRST + PATH]
    above["up_share_24"][...] = stage.day[DAY_FIRST + UP]


def _volatility(stage: Stage, work: Work, deviation_20: FloatArray) -> None:
    day, close, above, below, (mean, band) = stage.day, stage.bar[CLOSE], work.above, work.below, work.spare[:2]
    mean_20 = below["sma_dist_20"]
    np.divide(day[DAY_RET], 24.0, mean)
    np.subtract(stage.ret, mean, above["ret_z_24"])
    np.multiply(deviation_20, 2.0, band)
    width = np.multiply(band, 2.0, below["bb_pctb_20"])
    np.divide(width, mean_20, above["bb_width_20"])
    np.subtract(mean_20, band, band)
    np.subtract(close, band, above["bb_pctb_20"])
    np.divide(stage.smoothed[ATR], close, above["natr_14"])  # the deviation stood there
    above["downside_share_24"][...] = day[DAY_FIRST + FALL_SQUARE]
    below["downside_share_24"][...] = day[DAY_RET_SQUARE]


def _volume(stage: Stage, work: Work) -> None:
    day, above, below = stage.day, work.above, work.below
    volume = day[DAY_VOLUME]
    above["relvol_24"][...] = stage.bar[VOLUME]
    mean_24 = np.divide(volume, 24.0, below["relvol_24"])
    above["relvol_24_168"][...] = mean_24
    np.divide(stage.week[LONG_VOLUME], 168.0, below["relvol_24_168"])
    above["vwap_dist_24"][...] = stage.bar[CLOSE]
    np.divide(day[DAY_FIRST + MONEY], volume, below["vwap_dist_24"])
    above["obv_flow_24"][...] = day[DAY_FIRST + SIGNED]
    below["obv_flow_24"][...] = volume
    above["cmf_20"][...], below["cmf_20"][...] = stage.short_20[2], stage.short_20[1]
    above["mfi_14"][...] = stage.flows_14[0]
    np.add(stage.flows_14[0], stage.flows_14[1], below["mfi_14"])


def _candle(stage: Stage, work: Work) -> None:
    bar, above, spare = stage.bar, work.above, work.spare[0]
    np.subtract(bar[CLOSE], bar[OPEN], above["body"])
    np.maximum(bar[OPEN], bar[CLOSE], out=spare)
    np.subtract(bar[HIGH], spare, above["upper_wick"])
    np.minimum(bar[OPEN], bar[CLOSE], out=spare)
    np.subtract(spare, bar[LOW], above["lower_wick"])
    first = INDEX["body"] - _FIRST
    work.denominators[first : first + 3] = stage.height
    above["range_atr"][...] = stage.true_range
    work.below["range_atr"][...] = stage.smoothed[ATR]


def _cross(stage: Stage, work: Work, ret_variance: FloatArray) -> None:
    week, above, below = stage.week, work.above, work.below
    factor, factor_square = stage.factor_week
    variance = factor_square - factor * factor / 168.0
    variance *= variance > _FLAT * factor_square
    covariance, scale = above["corr_168"], below["corr_168"]
    np.multiply(week[RET], factor, covariance)
    covariance /= 168.0
    np.subtract(week[PRODUCT], covariance, covariance)
    above["beta_168"][...] = covariance
    below["beta_168"][...] = variance
    np.multiply(ret_variance, variance, scale)
    np.sqrt(scale, scale)
    work.values[_TIME : _TIME + 4] = stage.time
    above["mkt_ret_24"][...] = stage.factor_move_24


def _mend(quotients: FloatArray, empty: BoolArray) -> None:
    """Neutral values where a denominator is not above zero."""
    for name, neutral in _NEUTRAL.items():
        np.copyto(quotients[INDEX[name] - _FIRST], neutral, where=empty[INDEX[name] - _FIRST])
    sd_24_empty = empty[INDEX["ret_z_24"] - _FIRST]
    np.copyto(quotients[INDEX["vol_ratio_24_168"] - _FIRST], 1.0, where=sd_24_empty)


def _finish(stage: Stage, work: Work) -> None:
    above = work.above
    first = INDEX["sma_dist_20"]
    work.values[first : first + 3] -= 1.0
    above["trix_12"] -= 1.0
    above["vwap_dist_24"] -= 1.0
    ratio_of_deviations = above["vol_ratio_24_168"]
    np.log(ratio_of_deviations, ratio_of_deviations)
    first = INDEX["relvol_24"]
    volumes = work.values[first : first + 2]
    volumes += 1.0
    np.log(volumes, volumes)
    volumes -= _LOG_2
    correlation, residual = above["corr_168"], above["resid_ret_24"]
    np.minimum(correlation, 1.0, out=correlation)
    np.maximum(correlation, -1.0, out=correlation)
    np.multiply(above["beta_168"], stage.factor_move_24, residual)
    np.subtract(work.log_moves[_LAG_24], residual, residual)


def _mend_idle(stage: Stage, work: Work) -> None:
    """Where nothing was traded for a day."""
    above, idle = work.above, stage.day[DAY_VOLUME] <= 0.0
    if idle.any():
        above["relvol_24"][idle] = 0.0
        above["relvol_24_168"][stage.week[LONG_VOLUME] <= 0.0] = 0.0
        average_price = stage.day[DAY_FIRST + TYPICAL][idle] / 24.0
        above["vwap_dist_24"][idle] = stage.bar[CLOSE][idle] / average_price - 1.0
