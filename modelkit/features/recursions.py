"""Recursive averages (EMA, Wilder) over the segments between resets, read from chains anchored at absolute bars.

They are the plain recursion `a*x + (1-a)*y`, as a bar-by-bar engine goes, so both give the same bits. Each starts anew
where a product was reset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from modelkit.candles import BoolArray, FloatArray
from modelkit.features.anchors import ANCHOR_STEP, CHAIN_BARS
from modelkit.features.compiled import compiled, ratio
from modelkit.features.definition import READY_BARS

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


@compiled
def directional_index(plus: float, minus: float) -> float:
    """Wilder's DX as a share of one."""
    return ratio(abs(plus - minus), plus + minus, 0.0)


def directional_indices(plus: FloatArray, minus: FloatArray) -> FloatArray:
    """That of every bar."""
    index = np.empty(plus.size)
    _directional_indices(plus.ravel(), minus.ravel(), index)
    return index.reshape(plus.shape)


@compiled
def _directional_indices(plus: FloatArray, minus: FloatArray, index: FloatArray) -> None:
    for i in range(len(index)):
        index[i] = directional_index(plus[i], minus[i])


def anchored(
    present: BoolArray,
    inputs: FloatArray,
    fresh: FloatArray,
    first_bar: int,
    outputs: int,
    run: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """Applies `run` along the chains that begin at max(anchor of the row's bar, first bar of the unbroken series).

    `inputs` is (K, P, T), `fresh` the same inputs as they are on the first bar of a series; `run` maps (K, ..., n) to
    (outputs, ..., n). Products with the same unbroken stretch go together; the result is NaN outside the stretches.
    """
    result = np.full((outputs, *present.shape), np.nan)
    groups: dict[Segment, list[int]] = defaultdict(list)
    for product, row in enumerate(present):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            groups[int(begin), int(end)].append(product)
    for (begin, end), products in groups.items():
        part = (slice(None), products, slice(begin, end))
        result[part] = _chains(inputs[part], fresh[part], first_bar + begin, outputs, run)
    return result


def _chains(
    inputs: FloatArray, fresh: FloatArray, first_bar: int, outputs: int, run: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """One unbroken stretch: the chain of its own start as long as no later anchor is due, then strided windows."""
    bars = inputs.shape[-1]
    first = -first_bar % ANCHOR_STEP or ANCHOR_STEP
    head = first + READY_BARS
    if bars <= head:
        return run(inputs)
    count = -(-(bars - head) // ANCHOR_STEP)
    padded = np.zeros((*inputs.shape[:-1], first + (count - 1) * ANCHOR_STEP + CHAIN_BARS))
    padded[..., :bars] = inputs
    views = sliding_window_view(padded[..., first:], CHAIN_BARS, axis=-1)
    windows = views[..., ::ANCHOR_STEP, :].copy()
    windows[..., 0] = fresh[..., first : first + count * ANCHOR_STEP : ANCHOR_STEP]
    tail = run(windows)[..., READY_BARS:].reshape(outputs, inputs.shape[1], count * ANCHOR_STEP)
    return np.concatenate((run(inputs[..., :head]), tail[..., : bars - head]), axis=-1)


def _smooth(x: FloatArray, alpha: float) -> FloatArray:
    return _filter(x, alpha, 1.0 - alpha, x[..., :1])


def _filter(x: FloatArray, gain: float, decay: float, first: FloatArray) -> FloatArray:
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    y = np.empty_like(rows)
    _recurse(rows, gain, decay, np.ascontiguousarray(first).ravel(), y)
    return y.reshape(x.shape)


@compiled
def _recurse(x: FloatArray, gain: float, decay: float, first: FloatArray, y: FloatArray) -> None:
    for row in range(x.shape[0]):
        running = first[row]
        y[row, 0] = running
        for t in range(1, x.shape[1]):
            running = gain * x[row, t] + decay * running
            y[row, t] = running
