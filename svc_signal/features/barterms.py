"""What one bar and the bar before it contribute to windows and recursions; elementwise, shared by all engines.

Terms are written straight where windows and averages read them. Low prices enter as negative numbers where high and low
are treated alike: x - y and x + (-y) are the same bits, so one call does both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svc_signal.candles import FloatArray
from svc_signal.features.memory import aligned
from svc_signal.features.rows import (
    ACCUMULATION,
    BODY,
    BOTTOM,
    CLOSE,
    EXTREMES,
    FALL_SQUARE,
    GAP,
    GAP_SQUARE,
    HIGH,
    INDEXED,
    LONG_CLOSE,
    LONG_VOLUME,
    LOW,
    MONEY,
    NEGATIVE,
    PATH,
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
    TYPICAL,
    UP,
    VOLUME,
)

_TIE = 1e-12
"""Typical prices closer than this are equal: the thirds of two equal decimal sums differ by rounding only."""
_LOGS = 9
_HIGH_LOW, _RET, _GAP, _RANGE = slice(0, 4), 4, 5, 7
"""ln of H/C, L/C, H/O, L/O; of C/C', O/C', C/O, H/L; of C."""


@dataclass(frozen=True, slots=True)
class Before:
    """What the next bar reads of the bar before it."""

    extremes: FloatArray
    """High and negative low."""
    close: FloatArray
    typical: FloatArray


class BarTerms:
    """The terms that no window keeps, and work memory; `take` fills them and the rows of `long` and `short`."""

    __slots__ = ("_drift", "_larger", "_logs", "_quotients", "_spare", "change", "height", "moves", "true_range")

    def __init__(self, *shape: int) -> None:
        self.change = aligned(*shape)
        """C - C' """
        self.height = aligned(*shape)
        """H - L"""
        self.true_range = aligned(*shape)
        """First bar: H - L."""
        self.moves = aligned(2, *shape)
        """Directional movement up and down, 0 on the first bar."""
        self._quotients, self._logs = aligned(2, _LOGS, *shape)
        self._spare, self._drift = aligned(2, 2, *shape)
        self._larger = np.empty((2, *shape), dtype=np.bool_)

    def take(
        self,
        bar: FloatArray,
        before: Before,
        factor_ret: FloatArray,
        place: FloatArray | float,
        long: FloatArray,
        short: FloatArray,
    ) -> None:
        """Terms of `bar` (5, ...); those of the bar before it are NaN where there is none.

        `place` is the bar's place in its block of 24. Those that need a bar before mean nothing on the first bar of a
        series. SHIFTED, SHIFTED_SQUARE and STOCHASTIC are left to the engines.
        """
        long[LONG_CLOSE : LONG_VOLUME + 1] = bar[CLOSE::2]
        self._take_logs(bar, before.close, factor_ret, place, long, short)
        np.subtract(bar[CLOSE], before.close, self.change)
        np.abs(self.change, short[PATH])
        sign = np.sign(self.change, self._spare[0])
        np.maximum(sign, 0.0, out=short[UP])
        np.multiply(sign, bar[VOLUME], short[SIGNED])
        short[TOP] = bar[HIGH]
        np.negative(bar[LOW], short[BOTTOM])
        self._take_ranges(bar, before.close, short)
        self._take_moves(short[EXTREMES], before.extremes)
        self._take_flows(bar, before.typical, short)

    def _take_logs(
        self,
        bar: FloatArray,
        close_before: FloatArray,
        factor_ret: FloatArray,
        place: FloatArray | float,
        long: FloatArray,
        short: FloatArray,
    ) -> None:
        quotients, logs, spare = self._quotients, self._logs, self._spare
        np.divide(bar[None, :CLOSE], bar[CLOSE:VOLUME, None], quotients[_HIGH_LOW].reshape(2, 2, *bar.shape[1:]))
        np.divide(bar[CLOSE:VOLUME], close_before, quotients[_RET : _GAP + 1])
        np.divide(bar[HIGH:VOLUME:2], bar[LOW:VOLUME:2], quotients[_RANGE:_GAP:-1])
        quotients[-1] = bar[CLOSE]
        np.log(quotients, logs)
        ret = logs[_RET]
        long[RET::2] = logs[_RET::4]  # the return and the log close
        np.multiply(ret, ret, long[RET_SQUARE])
        np.multiply(ret, factor_ret, long[PRODUCT])
        short[GAP : BODY + 1] = logs[_GAP:_RANGE]
        np.multiply(logs[_GAP : _RANGE + 1], logs[_GAP : _RANGE + 1], short[GAP_SQUARE : RANGE_SQUARE + 1])
        np.multiply(logs[0:2], logs[2:4], spare)
        np.add(spare[0], spare[1], short[ROGERS_SATCHELL])
        np.minimum(ret, 0.0, out=spare[0])
        np.multiply(spare[0], spare[0], short[FALL_SQUARE])
        np.multiply(logs[-1], place, short[INDEXED])

    def _take_ranges(self, bar: FloatArray, close_before: FloatArray, short: FloatArray) -> None:
        high, low, close, height, (reached, spare) = bar[HIGH], bar[LOW], bar[CLOSE], self.height, self._spare
        np.subtract(high, low, height)
        np.minimum(low, close_before, out=spare)
        np.subtract(close, spare, short[PRESSURE])
        np.maximum(high, close_before, out=reached)
        np.subtract(reached, spare, short[RANGE])
        np.fmax(short[RANGE], height, out=self.true_range)  # it is at least the height; fmax passes over NaN
        np.subtract(close, low, reached)
        np.subtract(high, close, spare)
        reached -= spare
        ratio(reached, height, 0.0, out=reached)  # where in its range the bar closed
        np.multiply(reached, bar[VOLUME], short[ACCUMULATION])

    def _take_moves(self, extremes: FloatArray, before: FloatArray) -> None:
        """The larger of rise and fall, if it is above zero; 0 where there is no bar before."""
        moves = np.subtract(extremes, before, self.moves)
        np.greater(moves, moves[::-1], self._larger)
        np.fmax(moves, 0.0, out=moves)
        np.multiply(moves, self._larger, moves)

    def _take_flows(self, bar: FloatArray, typical_before: FloatArray, short: FloatArray) -> None:
        """Money of a bar whose typical price rose, or fell, by more than rounding."""
        drift, typical, money, tie = self._drift, short[TYPICAL], short[MONEY], self._spare[0]
        typical_price(bar, out=typical)
        np.multiply(typical, bar[VOLUME], money)
        np.subtract(typical, typical_before, drift[0])
        np.negative(drift[0], drift[1])
        np.multiply(typical, _TIE, tie)
        np.greater(drift, tie, self._larger)
        np.multiply(self._larger, money, short[POSITIVE : NEGATIVE + 1])


def typical_price(bar: FloatArray, out: FloatArray | None = None) -> FloatArray:
    typical: FloatArray = np.add(bar[HIGH], bar[LOW], out=out)
    typical += bar[CLOSE]
    typical /= 3.0
    return typical


def ratio(
    numerator: FloatArray, denominator: FloatArray, neutral: float | FloatArray, out: FloatArray | None = None
) -> FloatArray:
    """numerator/denominator, or `neutral` where the denominator is not above zero; NaN stays NaN."""
    quotient = np.divide(numerator, denominator, out=out)
    empty = denominator <= 0.0
    if empty.any():  # rare: masked copies cost more than the division
        np.copyto(quotient, neutral, where=empty)
    return quotient


def stochastic_k(close: FloatArray, lowest: FloatArray, highest: FloatArray) -> FloatArray:
    return ratio(close - lowest, highest - lowest, 0.5)


def directional_index(plus: FloatArray, minus: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Wilder's DX as a share of one."""
    apart = np.subtract(plus, minus, out=out)
    return ratio(np.abs(apart, out=apart), plus + minus, 0.0, out=out)
