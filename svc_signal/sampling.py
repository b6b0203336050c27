"""Which rows a model learns from and how much each class weighs.

Labels of neighbouring bars overlap, so rows are thinned by a stride that shares no factor with 24: a stride
of four would show the model six hours of the day only. Balanced class weights pull probabilities towards
equal shares; `correct_for_prior` puts the true shares back.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from svc_signal.candles import BoolArray, FloatArray, IntArray
from svc_signal.labels import NO_LABEL, Outcome

CLASSES = tuple(int(outcome) for outcome in Outcome)
_HOURS_PER_DAY = 24


def thinned(labels: IntArray, first_bar: int, stride: int) -> BoolArray:
    """Mask of labelled rows whose absolute bar number is a multiple of `stride`."""
    if stride < 1 or gcd(stride, _HOURS_PER_DAY) != 1:
        raise ValueError(f"stride {stride} shares a factor with {_HOURS_PER_DAY} and would skip hours of the day")
    bars = first_bar + np.arange(labels.shape[1])
    return np.asarray((labels != NO_LABEL) & (bars % stride == 0))


def class_shares(labels: IntArray) -> FloatArray:
    """Share of each class among these rows."""
    counts = np.asarray([np.count_nonzero(labels == code) for code in CLASSES], dtype=np.float64)
    return counts / len(labels)


def balanced_weights(labels: IntArray, shares: FloatArray) -> FloatArray:
    """Row weights that give every class the same total; their mean is one."""
    return np.asarray(1.0 / (len(CLASSES) * shares[labels]))


def correct_for_prior(probabilities: FloatArray, shares: FloatArray) -> FloatArray:
    """Undo the balancing: p_k in proportion to p_k * share_k / (1/3), rows renormalised."""
    scaled = probabilities * (shares * len(CLASSES))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True))
