"""Recursive averages of the bar-by-bar engine: the chains that later rows still need, side by side.

A chain begins at every anchor; a row reads the chain of its own anchor. `gain*x + decay*y` rounds as the linear filter of
`features.recursions` does, so the bits are those of the history engine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from svc_signal.candles import BoolArray, FloatArray
from svc_signal.features.anchors import ANCHOR_STEP, CHAIN_BARS, anchor
from svc_signal.features.barterms import BarTerms, ratio
from svc_signal.features.engine_windows import StateArrays
from svc_signal.features.memory import aligned
from svc_signal.features.recursions import WILDER_PERIOD
from svc_signal.features.rows import (
    ATR,
    CLOSE,
    DIRECT,
    EMA_12,
    EMA_12_TWICE,
    EMA_26,
    GAIN,
    LOSS,
    MACD_SIGNAL,
    MINUS,
    PLUS,
    RANGE_SUM,
    SMOOTHED,
    TRIX,
)

SLOTS = -(-CHAIN_BARS // ANCHOR_STEP)
_WILDER = 1.0 / WILDER_PERIOD
_FAST, _SLOW, _SIGNAL = 2.0 / 13.0, 2.0 / 27.0, 2.0 / 10.0
_SUM_DECAY = (WILDER_PERIOD - 1.0) / WILDER_PERIOD
_DECAY = np.array(
    (
        *(1.0 - _FAST, 1.0 - _SLOW, 1.0 - _WILDER, _SUM_DECAY, _SUM_DECAY, _SUM_DECAY, 1.0 - _WILDER, 1.0 - _WILDER),
        *(1.0 - _FAST, 1.0 - _SIGNAL, 1.0 - _WILDER, 1.0 - _FAST),
    )
)[:, None]
_CLOSE_GAIN = np.array((_FAST, _SLOW))[:, None]
_DERIVED_GAIN = np.array((_FAST, _SIGNAL, _WILDER))[:, None]
_TRIX_GAIN, _WILDER_GAIN = np.array(_FAST), np.array(_WILDER)


class Chains:
    """State (slots, averages, products): slot 0 holds the chain of this bar's anchor, the others those of later ones."""

    __slots__ = ("_source", "_spare", "_state", "_trix_before", "_x")

    def __init__(self, products: int) -> None:
        self._state = aligned(SLOTS, SMOOTHED, products, fill=np.nan)
        self._trix_before = aligned(products)
        self._x = aligned(DIRECT, products)
        self._source = aligned(SLOTS, MACD_SIGNAL - EMA_12_TWICE + 2, products)
        self._spare = aligned(SLOTS, products)

    @property
    def results(self) -> tuple[FloatArray, FloatArray]:
        """(averages (12, P), TRIX's average one bar before), the same memory at every bar."""
        return self._state[0], self._trix_before

    def push(self, number: int, bar: FloatArray, terms: BarTerms, begins: BoolArray | None) -> None:
        """Takes bar `number`; `begins` marks products whose series starts here, in every chain."""
        origin = anchor(number)
        if origin != anchor(number - 1):
            self._state[:-1] = self._state[1:].copy()
        np.copyto(self._trix_before, self._state[0, TRIX])
        alive = (number - origin) // ANCHOR_STEP + 1
        fresh = alive - 1 if number % ANCHOR_STEP == 0 else None
        columns = None if begins is None else np.flatnonzero(begins)
        state = self._state[: SLOTS if columns is not None else alive]
        self._push_direct(state, bar, terms, fresh, columns)
        self._push_derived(state, fresh, columns)

    def arrays(self) -> StateArrays:
        yield "state", self._state

    def _push_direct(
        self, state: FloatArray, bar: FloatArray, terms: BarTerms, fresh: int | None, columns: NDArray[np.intp] | None
    ) -> None:
        x = self._x
        np.multiply(bar[CLOSE], _CLOSE_GAIN, x[EMA_12:ATR])
        np.multiply(terms.true_range, _WILDER_GAIN, x[ATR])
        x[RANGE_SUM] = terms.true_range
        x[PLUS : MINUS + 1] = terms.moves
        gain = np.maximum(terms.change, 0.0, out=x[GAIN])
        np.subtract(gain, terms.change, x[LOSS])  # what is not a gain
        x[GAIN:] *= _WILDER_GAIN
        state *= _DECAY
        state[:, :DIRECT] += x
        if fresh is not None:
            state[fresh, :DIRECT] = _beginning(bar, terms.height)
        if columns is not None:
            state[:, :DIRECT, columns] = _beginning(bar, terms.height)[:, columns]

    def _push_derived(self, state: FloatArray, fresh: int | None, columns: NDArray[np.intp] | None) -> None:
        source, spare = self._source[: len(state)], self._spare[: len(state)]
        index = source[:, 2]
        source[:, 0] = state[:, EMA_12]
        np.subtract(state[:, EMA_12], state[:, EMA_26], source[:, 1])
        np.subtract(state[:, PLUS], state[:, MINUS], index)
        np.abs(index, index)
        np.add(state[:, PLUS], state[:, MINUS], spare)
        ratio(index, spare, 0.0, out=index)
        first = None if fresh is None else source[fresh].copy()
        begun = None if columns is None else source[:, :, columns]
        source *= _DERIVED_GAIN
        state[:, DIRECT:TRIX] += source
        if first is not None:
            state[fresh, DIRECT:TRIX] = first
        if begun is not None:
            state[:, DIRECT:TRIX, columns] = begun
        twice = state[:, EMA_12_TWICE]
        np.multiply(twice, _TRIX_GAIN, spare)
        state[:, TRIX] += spare
        if fresh is not None:
            state[fresh, TRIX] = twice[fresh]
        if columns is not None:
            state[:, TRIX, columns] = twice[:, columns]


def _beginning(bar: FloatArray, height: FloatArray) -> FloatArray:
    """The direct averages on the first bar of a chain: no bar before, so its range is H - L and nothing moved."""
    still = np.zeros_like(height)
    return np.stack((bar[CLOSE], bar[CLOSE], height, WILDER_PERIOD * height, still, still, still, still))
