"""Recursive averages (EMA, Wilder) over the segments between resets.

They run through a linear filter whose rounding equals the plain recursion `a*x + (1-a)*y` bit for bit, so a
bar-by-bar engine gives the same values. Each starts anew where a product was reset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from svc_signal.candles import BoolArray, FloatArray

Segment = tuple[int, int]
WILDER_PERIOD = 14


def ema(x: FloatArray, period: int) -> FloatArray:
    """Exponential average, alpha = 2/(period+1), first value x."""
    return _smooth(x, 2.0 / (period + 1.0))


def wilder(x: FloatArray) -> FloatArray:
    """Wilder's average over 14 bars: alpha = 1/14, first value x."""
    return _smooth(x, 1.0 / WILDER_PERIOD)


def wilder_sum(x: FloatArray) -> FloatArray:
    """Wilder's sum over 14 bars: y = x + (13/14)*y, first value 14*x."""
    return _filter(x, 1.0, (WILDER_PERIOD - 1.0) / WILDER_PERIOD, WILDER_PERIOD * x[..., :1])


def per_segment(
    present: BoolArray, inputs: FloatArray, outputs: int, run: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Applies `run` to every unbroken stretch of bars; products with the same stretch go together.

    `inputs` is (K, P, T), `run` maps (K, p, n) to (outputs, p, n); the result is NaN outside the stretches.
    """
    result = np.full((outputs, *present.shape), np.nan)
    groups: dict[Segment, list[int]] = defaultdict(list)
    for product, row in enumerate(present):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            groups[int(begin), int(end)].append(product)
    for (begin, end), products in groups.items():
        result[:, products, begin:end] = run(inputs[:, products, begin:end])
    return result


def _smooth(x: FloatArray, alpha: float) -> FloatArray:
    return _filter(x, alpha, 1.0 - alpha, x[..., :1])


def _filter(x: FloatArray, gain: float, decay: float, first: FloatArray) -> FloatArray:
    y = np.empty_like(x)
    y[..., :1] = first
    if x.shape[-1] > 1:
        y[..., 1:], _ = lfilter([gain], [1.0, -decay], x[..., 1:], axis=-1, zi=decay * first)
    return y
