"""Which rows a model learns from and how much each row and class weighs.

Labels of neighbouring bars overlap, so rows are thinned by a stride that shares no factor with 24 (a stride of four
would show the model six hours of the day only), or weighted by how unique their labels are. Balanced class weights
pull probabilities towards equal shares; `correct_for_prior` puts the true shares back.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.labels import NO_LABEL, Outcome

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


def average_uniqueness(lives: IntArray, used: BoolArray) -> FloatArray:
    """(P, T): 1 / number of used labels alive, averaged over each used label's life; 0 on rows not used.

    A label of bar t lives in bars t+1..t+life. Lopez de Prado, Advances in Financial Machine Learning (2018), 4.4.
    """
    products, bars = used.shape
    rows, at = used.nonzero()
    ends = np.minimum(at + lives[rows, at], bars - 1)
    change = np.zeros((products, bars + 1))
    np.add.at(change, (rows, at + 1), 1.0)
    np.add.at(change, (rows, ends + 1), -1.0)
    alive = np.cumsum(change, axis=1)[:, :bars]
    share = np.divide(1.0, alive, out=np.zeros_like(alive), where=alive > 0.5)
    running = np.cumsum(share, axis=1)
    found = np.zeros(used.shape)
    found[rows, at] = (running[rows, ends] - running[rows, at]) / np.maximum(ends - at, 1)
    return found


def time_decay(ages_days: FloatArray, half_life_days: float) -> FloatArray:
    """Weight of rows by their age: one now, half after the half-life."""
    return np.asarray(np.exp2(-ages_days / half_life_days))
