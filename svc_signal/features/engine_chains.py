"""Recursive averages of the bar-by-bar engine: the four chains that later rows still need, side by side.

A chain begins at every anchor; a row reads the chain of its own anchor. `gain*x + decay*y` rounds as the linear filter of
`features.recursions` does, so the bits are those of the history engine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from svc_signal.candles import BoolArray, FloatArray
from svc_signal.features.anchors import ANCHOR_STEP, CHAIN_BARS, anchor
from svc_signal.features.barterms import Bar, BarTerms, directional_index
from svc_signal.features.engine_windows import StateArrays
from svc_signal.features.laststage import Smoothed
from svc_signal.features.recursions import WILDER_PERIOD

SLOTS = -(-CHAIN_BARS // ANCHOR_STEP)
_WILDER = 1.0 / WILDER_PERIOD
_EMA_12, _EMA_26, _EMA_9 = 2.0 / 13.0, 2.0 / 27.0, 2.0 / 10.0
_SUM_DECAY = (WILDER_PERIOD - 1.0) / WILDER_PERIOD

_DIRECT_GAIN = (_EMA_12, _EMA_26, _WILDER, 1.0, 1.0, 1.0, _WILDER, _WILDER)
_DIRECT_DECAY = (1.0 - _EMA_12, 1.0 - _EMA_26, 1.0 - _WILDER, *(3 * (_SUM_DECAY,)), 1.0 - _WILDER, 1.0 - _WILDER)
"""close, close, true range, then the Wilder sums of true range, plus and minus move, then gain and loss."""
_DERIVED_GAIN = (_EMA_12, _EMA_9, _WILDER)
"""The average of the 12-bar average, the MACD signal, and ADX."""


class Chains:
    """State (rows, slots, products); slot (A // 168) % 4 holds the chain of anchor A."""

    __slots__ = (
        "_decay",
        "_derived",
        "_derived_decay",
        "_derived_gain",
        "_direct",
        "_gain",
        "_scaled",
        "_source",
        "_trix",
        "_x",
    )

    def __init__(self, products: int) -> None:
        self._gain = np.array(_DIRECT_GAIN)[:, None]
        self._decay = np.array(_DIRECT_DECAY)[:, None, None]
        self._derived_gain = np.array(_DERIVED_GAIN)[:, None, None]
        self._derived_decay = 1.0 - self._derived_gain
        self._direct = np.full((len(_DIRECT_GAIN), SLOTS, products), np.nan)
        self._derived = np.full((len(_DERIVED_GAIN), SLOTS, products), np.nan)
        self._trix = np.full((SLOTS, products), np.nan)
        self._x = np.empty((len(_DIRECT_GAIN), products))
        self._source = np.empty((len(_DERIVED_GAIN), SLOTS, products))
        self._scaled = np.empty((len(_DERIVED_GAIN), SLOTS, products))

    def push(self, number: int, bar: Bar, terms: BarTerms, begins: BoolArray) -> Smoothed:
        """Takes bar `number`; `begins` marks products whose series starts here, in every chain."""
        slot = anchor(number) // ANCHOR_STEP % SLOTS
        before = self._trix[slot].copy()
        fresh = number // ANCHOR_STEP % SLOTS if number % ANCHOR_STEP == 0 else None
        columns = np.flatnonzero(begins)
        self._push_direct(bar, terms, fresh, columns)
        self._push_derived(fresh, columns)
        return Smoothed(
            ema_12=self._direct[0, slot],
            ema_26=self._direct[1, slot],
            macd_signal=self._derived[1, slot],
            trix=self._trix[slot],
            trix_before=before,
            atr=self._direct[2, slot],
            range_sum=self._direct[3, slot],
            plus=self._direct[4, slot],
            minus=self._direct[5, slot],
            adx=self._derived[2, slot],
            gain=self._direct[6, slot],
            loss=self._direct[7, slot],
        )

    def arrays(self) -> StateArrays:
        yield "direct", self._direct
        yield "derived", self._derived
        yield "trix", self._trix

    def _push_direct(self, bar: Bar, terms: BarTerms, fresh: int | None, columns: NDArray[np.intp]) -> None:
        x = self._x
        x[0] = x[1] = bar.close
        x[2] = x[3] = terms.true_range
        x[4], x[5] = terms.plus_move, terms.minus_move
        np.maximum(terms.change, 0.0, out=x[6])
        np.maximum(-terms.change, 0.0, out=x[7])
        x *= self._gain
        self._direct *= self._decay
        self._direct += x[:, None, :]
        if fresh is not None:
            self._direct[:, fresh] = _beginning(bar)
        if len(columns):
            self._direct[:, :, columns] = _beginning(bar)[:, None, columns]

    def _push_derived(self, fresh: int | None, columns: NDArray[np.intp]) -> None:
        direct, derived, source, scaled = self._direct, self._derived, self._source, self._scaled
        source[0] = direct[0]
        np.subtract(direct[0], direct[1], out=source[1])
        directional_index(direct[4], direct[5], out=source[2])
        derived *= self._derived_decay
        np.multiply(source, self._derived_gain, out=scaled)
        derived += scaled
        if fresh is not None:
            derived[:, fresh] = source[:, fresh]
        if len(columns):
            derived[:, :, columns] = source[:, :, columns]
        self._trix *= 1.0 - _EMA_12
        np.multiply(derived[0], _EMA_12, out=scaled[0])
        self._trix += scaled[0]
        if fresh is not None:
            self._trix[fresh] = derived[0, fresh]
        if len(columns):
            self._trix[:, columns] = derived[0][:, columns]


def _beginning(bar: Bar) -> FloatArray:
    """The direct averages on the first bar of a chain: no bar before, so its range is H - L and nothing moved."""
    height = bar.high - bar.low
    still = np.zeros_like(height)
    return np.stack((bar.close, bar.close, height, WILDER_PERIOD * height, still, still, still, still))
