"""What one bar and the bar before it contribute to windows and recursions; elementwise, shared by all
engines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svc_signal.candles import FloatArray
from svc_signal.features.scratch import Scratch

_TIE = 1e-12
"""Typical prices closer than this are equal: the thirds of two equal decimal sums differ by rounding only."""


@dataclass(frozen=True, slots=True)
class BarTerms:
    """Per-bar terms; those that need a previous bar mean nothing on the first bar of a series."""

    log_close: FloatArray
    ret: FloatArray
    factor_ret: FloatArray
    change: FloatArray
    """C - C' """
    height: FloatArray
    """H - L"""
    true_range: FloatArray
    """First bar: H - L."""
    window_range: FloatArray
    """The same, NaN on the first bar: windows count whole ranges only."""
    buying_pressure: FloatArray
    plus_move: FloatArray
    minus_move: FloatArray
    """Directional movement, 0 on the first bar."""
    typical: FloatArray
    money: FloatArray
    """Typical price times volume."""
    log_range: FloatArray
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


@dataclass(frozen=True, slots=True)
class Before:
    """What the next bar reads of the bar before it."""

    high: FloatArray
    low: FloatArray
    close: FloatArray
    typical: FloatArray


def typical_price(bar: Bar) -> FloatArray:
    return (bar.high + bar.low + bar.close) / 3.0


def ratio(
    numerator: FloatArray, denominator: FloatArray, neutral: float | FloatArray, out: FloatArray | None = None
) -> FloatArray:
    """numerator/denominator, or `neutral` where the denominator is not above zero; NaN stays NaN."""
    quotient = np.divide(numerator, denominator, out=out)
    empty = denominator <= 0.0
    if empty.any():  # rare: masked copies cost more than the division
        np.copyto(quotient, neutral, where=empty)
    return quotient


def bar_terms(bar: Bar, before: Before, factor: FloatArray, factor_before: FloatArray, scratch: Scratch) -> BarTerms:
    """Terms of `bar`; `before` is the bar before it, NaN where there is none. They live in `scratch`."""
    change, height, bottom, window_range, true_range, pressure, typical, money, location, reached = scratch.rows(10)
    np.subtract(bar.close, before.close, out=change)
    np.subtract(bar.high, bar.low, out=height)
    np.minimum(bar.low, before.close, out=bottom)
    np.maximum(bar.high, before.close, out=window_range)
    window_range -= bottom
    np.fmax(window_range, height, out=true_range)  # it is at least the height; fmax passes over NaN
    np.subtract(bar.close, bottom, out=pressure)
    np.add(bar.high, bar.low, out=typical)
    typical += bar.close
    typical /= 3.0
    np.multiply(typical, bar.volume, out=money)
    np.subtract(bar.close, bar.low, out=reached)
    reached -= bar.high - bar.close
    ratio(reached, height, 0.0, out=location)
    plus_move, minus_move = _directional_moves(bar, before, scratch)
    positive_flow, negative_flow = _flows(typical, before.typical, money, scratch)
    logs = _logs(bar, before, scratch)
    rogers_satchell, signed_volume = scratch.rows(2)
    np.multiply(logs[2], logs[0], out=rogers_satchell)
    rogers_satchell += logs[3] * logs[1]
    np.sign(change, out=signed_volume)
    signed_volume *= bar.volume
    return BarTerms(
        log_close=logs[4],
        ret=logs[5],
        factor_ret=np.log(factor / factor_before),
        change=change,
        height=height,
        true_range=true_range,
        window_range=window_range,
        buying_pressure=pressure,
        plus_move=plus_move,
        minus_move=minus_move,
        typical=typical,
        money=money,
        log_range=logs[6],
        log_body=logs[7],
        log_gap=logs[8],
        rogers_satchell=rogers_satchell,
        signed_volume=signed_volume,
        positive_flow=positive_flow,
        negative_flow=negative_flow,
        close_location=location,
    )


def _logs(bar: Bar, before: Before, scratch: Scratch) -> FloatArray:
    """ln of H/O, L/O, H/C, L/C, C, C/C', H/L, C/O, O/C', in one pass."""
    quotients = scratch.rows(9)
    np.divide(bar.high, bar.open, out=quotients[0])
    np.divide(bar.low, bar.open, out=quotients[1])
    np.divide(bar.high, bar.close, out=quotients[2])
    np.divide(bar.low, bar.close, out=quotients[3])
    quotients[4] = bar.close
    np.divide(bar.close, before.close, out=quotients[5])
    np.divide(bar.high, bar.low, out=quotients[6])
    np.divide(bar.close, bar.open, out=quotients[7])
    np.divide(bar.open, before.close, out=quotients[8])
    return np.log(quotients, out=scratch.rows(9))


def _directional_moves(bar: Bar, before: Before, scratch: Scratch) -> FloatArray:
    """(plus, minus): the larger of rise and fall, if it is above zero; 0 where there is no bar before."""
    moves = scratch.rows(2)
    np.subtract(bar.high, before.high, out=moves[0])
    np.subtract(before.low, bar.low, out=moves[1])
    larger = moves > moves[::-1]
    np.fmax(moves, 0.0, out=moves)
    moves *= larger
    return moves


def _flows(typical: FloatArray, typical_before: FloatArray, money: FloatArray, scratch: Scratch) -> FloatArray:
    """(positive, negative): the money of a bar whose typical price rose, or fell, by more than rounding."""
    drift = scratch.rows(2)
    np.subtract(typical, typical_before, out=drift[0])
    np.negative(drift[0], out=drift[1])
    return np.multiply(drift > _TIE * typical, money, out=drift)


def stochastic_k(close: FloatArray, lowest: FloatArray, highest: FloatArray) -> FloatArray:
    return ratio(close - lowest, highest - lowest, 0.5)


def directional_index(plus: FloatArray, minus: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Wilder's DX as a share of one."""
    apart = np.subtract(plus, minus, out=out)
    return ratio(np.abs(apart, out=apart), plus + minus, 0.0, out=out)
