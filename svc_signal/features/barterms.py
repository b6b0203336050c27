"""What one bar and the bar before it contribute to windows and recursions; elementwise, shared by all
engines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svc_signal.candles import FloatArray

_TIE = 1e-12
"""Typical prices closer than this are equal: the thirds of two equal decimal sums differ by rounding only."""


@dataclass(frozen=True, slots=True)
class BarTerms:
    """Per-bar terms; those that need a previous bar are NaN on the first bar of a series."""

    log_close: FloatArray
    ret: FloatArray
    factor_ret: FloatArray
    change: FloatArray
    """C - C' """
    true_range: FloatArray
    """First bar: H - L."""
    window_range: FloatArray
    """The same, NaN on the first bar: windows count whole ranges only."""
    buying_pressure: FloatArray
    plus_move: FloatArray
    minus_move: FloatArray
    """Directional movement, 0 on the first bar."""
    typical: FloatArray
    log_range_square: FloatArray
    log_body: FloatArray
    log_gap: FloatArray
    rogers_satchell: FloatArray
    signed_volume: FloatArray
    positive_flow: FloatArray
    negative_flow: FloatArray
    close_location: FloatArray


@dataclass(frozen=True, slots=True)
class Bar:
    """Prices and volume of the same bar for all products."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    @property
    def typical(self) -> FloatArray:
        return (self.high + self.low + self.close) / 3.0


def ratio(numerator: FloatArray, denominator: FloatArray, neutral: float) -> FloatArray:
    """numerator/denominator, or `neutral` where the denominator is not above zero; NaN stays NaN."""
    empty = denominator <= 0.0
    return np.where(empty, neutral, numerator / np.where(empty, 1.0, denominator))


def bar_terms(bar: Bar, before: Bar, factor: FloatArray, factor_before: FloatArray) -> BarTerms:
    """Terms of `bar`; `before` is the bar before it, NaN where there is none."""
    change = bar.close - before.close
    window_range = np.maximum(bar.high, before.close) - np.minimum(bar.low, before.close)
    rise, fall = bar.high - before.high, before.low - bar.low
    typical = bar.typical
    flow = typical * bar.volume
    log_high_open, log_low_open = np.log(bar.high / bar.open), np.log(bar.low / bar.open)
    log_high_close, log_low_close = np.log(bar.high / bar.close), np.log(bar.low / bar.close)
    drift = typical - before.typical
    moved = np.abs(drift) > _TIE * typical
    unknown = np.where(np.isnan(change), np.nan, 0.0)
    return BarTerms(
        log_close=np.log(bar.close),
        ret=np.log(bar.close / before.close),
        factor_ret=np.log(factor / factor_before),
        change=change,
        true_range=np.where(np.isnan(window_range), bar.high - bar.low, window_range),
        window_range=window_range,
        buying_pressure=bar.close - np.minimum(bar.low, before.close),
        plus_move=np.where((rise > fall) & (rise > 0.0), rise, 0.0),
        minus_move=np.where((fall > rise) & (fall > 0.0), fall, 0.0),
        typical=typical,
        log_range_square=np.square(np.log(bar.high / bar.low)),
        log_body=np.log(bar.close / bar.open),
        log_gap=np.log(bar.open / before.close),
        rogers_satchell=log_high_close * log_high_open + log_low_close * log_low_open,
        signed_volume=np.sign(change) * bar.volume,
        positive_flow=np.where(moved & (drift > 0.0), flow, 0.0) + unknown,
        negative_flow=np.where(moved & (drift < 0.0), flow, 0.0) + unknown,
        close_location=ratio((bar.close - bar.low) - (bar.high - bar.close), bar.high - bar.low, 0.0),
    )


def stochastic_k(close: FloatArray, lowest: FloatArray, highest: FloatArray) -> FloatArray:
    return ratio(close - lowest, highest - lowest, 0.5)


def directional_index(plus: FloatArray, minus: FloatArray) -> FloatArray:
    """Wilder's DX as a share of one."""
    return ratio(np.abs(plus - minus), plus + minus, 0.0)
