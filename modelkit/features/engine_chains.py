"""Recursive averages of the bar-by-bar engine: the chains that later rows still need, side by side.

A chain begins at every anchor; a row reads the chain of its own anchor. `gain*x + decay*y` is what
`features.recursions` does over a whole history, so the bits are those of the history engine.
"""

from __future__ import annotations

import numpy as np

from modelkit.candles import BoolArray, FloatArray
from modelkit.features.anchors import ANCHOR_STEP, CHAIN_BARS, anchor
from modelkit.features.compiled import compiled, larger
from modelkit.features.engine_windows import StateArrays
from modelkit.features.memory import aligned
from modelkit.features.recursions import WILDER_PERIOD, directional_index
from modelkit.features.rows import (
    ADX,
    ATR,
    CHANGE,
    EMA_12,
    EMA_12_TWICE,
    EMA_26,
    GAIN,
    HEIGHT,
    LOSS,
    MACD_SIGNAL,
    MINUS,
    MINUS_MOVE,
    PLUS,
    PLUS_MOVE,
    RANGE_SUM,
    SMOOTHED,
    TRIX,
    TRUE_RANGE,
)

SLOTS = -(-CHAIN_BARS // ANCHOR_STEP)
_PERIOD = float(WILDER_PERIOD)
_WILDER, _FAST, _SLOW, _SIGNAL = 1.0 / WILDER_PERIOD, 2.0 / 13.0, 2.0 / 27.0, 2.0 / 10.0
_SUM_DECAY = (WILDER_PERIOD - 1.0) / WILDER_PERIOD
_NONE = -1


class Chains:
    """State (slots, averages, products): slot 0 holds the chain of this bar's anchor, the others those of later ones."""

    __slots__ = ("_state", "_trix_before")

    def __init__(self, products: int) -> None:
        self._state = aligned(SLOTS, SMOOTHED, products, fill=np.nan)
        self._trix_before = aligned(products)

    @property
    def results(self) -> tuple[FloatArray, FloatArray]:
        """(averages (12, P), TRIX's average one bar before), the same memory at every bar."""
        return self._state[0], self._trix_before

    def push(self, number: int, close: FloatArray, own: FloatArray, begins: BoolArray | None) -> None:
        """Takes bar `number` with its close and own terms; `begins` marks products whose series starts here, in every
        chain."""
        origin = anchor(number)
        if origin != anchor(number - 1):
            self._state[:-1] = self._state[1:].copy()
        np.copyto(self._trix_before, self._state[0, TRIX])
        alive = (number - origin) // ANCHOR_STEP + 1
        fresh = alive - 1 if number % ANCHOR_STEP == 0 else _NONE
        _push(self._state[:alive], close, own, fresh)
        if begins is not None:
            _begin(self._state, close, own, begins)

    def arrays(self) -> StateArrays:
        yield "state", self._state


@compiled
def _push(state: FloatArray, close: FloatArray, own: FloatArray, fresh: int) -> None:
    """One bar of every chain; `fresh` is the one that begins."""
    for slot in range(len(state)):
        y = state[slot]
        if slot == fresh:
            _first(y, close, own)
        else:
            _follow(y, close, own)


@compiled
def _follow(y: FloatArray, close: FloatArray, own: FloatArray) -> None:
    for p in range(len(close)):
        gain = larger(own[CHANGE, p], 0.0)
        loss = gain - own[CHANGE, p]  # what is not a gain
        y[EMA_12, p] = y[EMA_12, p] * (1.0 - _FAST) + close[p] * _FAST
        y[EMA_26, p] = y[EMA_26, p] * (1.0 - _SLOW) + close[p] * _SLOW
        y[ATR, p] = y[ATR, p] * (1.0 - _WILDER) + own[TRUE_RANGE, p] * _WILDER
        y[RANGE_SUM, p] = y[RANGE_SUM, p] * _SUM_DECAY + own[TRUE_RANGE, p]
        y[PLUS, p] = y[PLUS, p] * _SUM_DECAY + own[PLUS_MOVE, p]
        y[MINUS, p] = y[MINUS, p] * _SUM_DECAY + own[MINUS_MOVE, p]
        y[GAIN, p] = y[GAIN, p] * (1.0 - _WILDER) + gain * _WILDER
        y[LOSS, p] = y[LOSS, p] * (1.0 - _WILDER) + loss * _WILDER
    for p in range(len(close)):
        macd, index = y[EMA_12, p] - y[EMA_26, p], directional_index(y[PLUS, p], y[MINUS, p])
        y[EMA_12_TWICE, p] = y[EMA_12_TWICE, p] * (1.0 - _FAST) + y[EMA_12, p] * _FAST
        y[MACD_SIGNAL, p] = y[MACD_SIGNAL, p] * (1.0 - _SIGNAL) + macd * _SIGNAL
        y[ADX, p] = y[ADX, p] * (1.0 - _WILDER) + index * _WILDER
        y[TRIX, p] = y[TRIX, p] * (1.0 - _FAST) + y[EMA_12_TWICE, p] * _FAST


@compiled
def _first(y: FloatArray, close: FloatArray, own: FloatArray) -> None:
    for p in range(len(close)):
        _begin_one(y, close, own, p)


@compiled
def _begin(state: FloatArray, close: FloatArray, own: FloatArray, begins: BoolArray) -> None:
    for slot in range(len(state)):
        for p in range(len(close)):
            if begins[p]:
                _begin_one(state[slot], close, own, p)


@compiled
def _begin_one(y: FloatArray, close: FloatArray, own: FloatArray, p: int) -> None:
    """The first bar of a chain: no bar before, so its range is H - L and nothing moved."""
    y[EMA_12, p] = y[EMA_26, p] = y[EMA_12_TWICE, p] = y[TRIX, p] = close[p]
    y[ATR, p] = own[HEIGHT, p]
    y[RANGE_SUM, p] = _PERIOD * own[HEIGHT, p]
    y[PLUS, p] = y[MINUS, p] = y[GAIN, p] = y[LOSS, p] = y[MACD_SIGNAL, p] = y[ADX, p] = 0.0
