"""What one bar and the bar before it contribute to windows and recursions; cell by cell, shared by all engines.

A cell is a bar of a product; arrays are (rows, cells). Terms are written straight where windows and averages read them.
Low prices enter as negative numbers where high and low are treated alike. Logarithms are numpy's, for all cells at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelkit.candles import FloatArray
from modelkit.features.compiled import compiled, known_larger, larger, one_if, ratio, smaller
from modelkit.features.memory import aligned
from modelkit.features.rows import (
    ACCUMULATION,
    BODY,
    BODY_SQUARE,
    BOTTOM,
    CHANGE,
    CLOSE,
    FALL_SQUARE,
    GAP,
    GAP_SQUARE,
    HEIGHT,
    HIGH,
    INDEXED,
    LOG_CLOSE,
    LONG_CLOSE,
    LONG_VOLUME,
    LOW,
    MINUS_MOVE,
    MONEY,
    NEGATIVE,
    OPEN,
    OWN_TERMS,
    PATH,
    PLUS_MOVE,
    POSITIVE,
    PRESSURE,
    PRODUCT,
    RANGE,
    RANGE_SQUARE,
    RET,
    RET_SQUARE,
    ROGERS_SATCHELL,
    SIGNED,
    TOP,
    TRUE_RANGE,
    TYPICAL,
    UP,
    VOLUME,
)

_TIE = 1e-12
"""Typical prices closer than this are equal: the thirds of two equal decimal sums differ by rounding only."""
_LOGS = 9
_HIGH_CLOSE, _LOW_CLOSE, _HIGH_OPEN, _LOW_OPEN, _RETURN, _OPENING, _CLOSE_OPEN, _HIGH_LOW, _CLOSE = range(_LOGS)
"""ln of H/C, L/C, H/O, L/O, C/C', O/C', C/O, H/L, and C."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the next bar reads of the bar before it."""

    extremes: FloatArray
    """High and negative low."""
    close: FloatArray
    typical: FloatArray


class BarTerms:
    """The terms that no window keeps, (OWN_TERMS, cells), and work memory; `take` fills them and `long` and `short`."""

    __slots__ = ("_logs", "own")

    def __init__(self, cells: int) -> None:
        self.own = aligned(OWN_TERMS, cells)
        self._logs = aligned(_LOGS, cells)

    def take(
        self,
        bar: FloatArray,
        before: Before,
        factor_ret: FloatArray,
        place: FloatArray,
        long: FloatArray,
        short: FloatArray,
    ) -> None:
        """Terms of `bar` (5, cells); those of the bar before it are NaN where there is none.

        `factor_ret` is the factor's return and `place` the bar's place in its block of 24, both by cell. Terms that need
        a bar before mean nothing on the first bar of a series. SHIFTED, SHIFTED_SQUARE and STOCHASTIC are left to the
        engines.
        """
        _quotients(bar, before.close, self._logs)
        np.log(self._logs, self._logs)
        _logs(self._logs, factor_ret, place, long, short)
        _changes(bar, before.close, self.own, long, short)
        _moves(before.extremes, self.own, short)
        _flows(bar, before.typical, short)


@compiled
def _quotients(bar: FloatArray, close_before: FloatArray, quotients: FloatArray) -> None:
    for i in range(bar.shape[1]):
        high, low, close, open = bar[HIGH, i], bar[LOW, i], bar[CLOSE, i], bar[OPEN, i]
        quotients[_HIGH_CLOSE, i] = high / close
        quotients[_LOW_CLOSE, i] = low / close
        quotients[_HIGH_OPEN, i] = high / open
        quotients[_LOW_OPEN, i] = low / open
        quotients[_RETURN, i] = close / close_before[i]
        quotients[_OPENING, i] = open / close_before[i]
        quotients[_CLOSE_OPEN, i] = close / open
        quotients[_HIGH_LOW, i] = high / low
        quotients[_CLOSE, i] = close


@compiled
def _logs(logs: FloatArray, factor_ret: FloatArray, place: FloatArray, long: FloatArray, short: FloatArray) -> None:
    for i in range(logs.shape[1]):
        ret, fall = logs[_RETURN, i], smaller(logs[_RETURN, i], 0.0)
        long[RET, i] = ret
        long[LOG_CLOSE, i] = logs[_CLOSE, i]
        long[RET_SQUARE, i] = ret * ret
        long[PRODUCT, i] = ret * factor_ret[i]
        short[GAP, i] = logs[_OPENING, i]
        short[BODY, i] = logs[_CLOSE_OPEN, i]
        short[GAP_SQUARE, i] = logs[_OPENING, i] * logs[_OPENING, i]
        short[BODY_SQUARE, i] = logs[_CLOSE_OPEN, i] * logs[_CLOSE_OPEN, i]
        short[RANGE_SQUARE, i] = logs[_HIGH_LOW, i] * logs[_HIGH_LOW, i]
        above, below = logs[_HIGH_CLOSE, i] * logs[_HIGH_OPEN, i], logs[_LOW_CLOSE, i] * logs[_LOW_OPEN, i]
        short[ROGERS_SATCHELL, i] = above + below
        short[FALL_SQUARE, i] = fall * fall
        short[INDEXED, i] = logs[_CLOSE, i] * place[i]


@compiled
def _changes(bar: FloatArray, close_before: FloatArray, own: FloatArray, long: FloatArray, short: FloatArray) -> None:
    for i in range(bar.shape[1]):
        high, low, close, volume, before = bar[HIGH, i], bar[LOW, i], bar[CLOSE, i], bar[VOLUME, i], close_before[i]
        change, height = close - before, high - low
        sign = change if change != change else one_if(change > 0.0) - one_if(change < 0.0)
        lowest = smaller(low, before)
        reached = larger(high, before) - lowest
        long[LONG_CLOSE, i], long[LONG_VOLUME, i] = close, volume
        own[CHANGE, i] = change
        own[HEIGHT, i] = height
        own[TRUE_RANGE, i] = known_larger(reached, height)  # it is at least the height, and that on a first bar
        short[PATH, i] = abs(change)
        short[UP, i] = larger(sign, 0.0)
        short[SIGNED, i] = sign * volume
        short[TOP, i], short[BOTTOM, i] = high, -low
        short[PRESSURE, i] = close - lowest
        short[RANGE, i] = reached
        short[ACCUMULATION, i] = ratio((close - low) - (high - close), height, 0.0) * volume


@compiled
def _moves(before: FloatArray, own: FloatArray, short: FloatArray) -> None:
    """The larger of rise and fall, if it is above zero; 0 where there is no bar before."""
    for i in range(own.shape[1]):
        rise, fall = short[TOP, i] - before[0, i], short[BOTTOM, i] - before[1, i]
        own[PLUS_MOVE, i] = known_larger(rise, 0.0) * one_if(rise > fall)
        own[MINUS_MOVE, i] = known_larger(fall, 0.0) * one_if(fall > rise)


@compiled
def _flows(bar: FloatArray, typical_before: FloatArray, short: FloatArray) -> None:
    """Money of a bar whose typical price rose, or fell, by more than rounding."""
    for i in range(bar.shape[1]):
        typical = (bar[HIGH, i] + bar[LOW, i] + bar[CLOSE, i]) / 3.0
        drift, tie, money = typical - typical_before[i], typical * _TIE, typical * bar[VOLUME, i]
        short[TYPICAL, i] = typical
        short[MONEY, i] = money
        short[POSITIVE, i] = one_if(drift > tie) * money
        short[NEGATIVE, i] = one_if(-drift > tie) * money
