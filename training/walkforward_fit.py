"""One fit of one setting on one fold, as a pure function of arrays, so that it may run in any process.

Scaler, class shares and weights are made here, from the fold's own rows, and from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from modelkit.candles import FloatArray, IntArray
from modelkit.sampling import CLASSES, average_uniqueness, balanced_weights, class_shares, thinned, time_decay
from training.fit import LearningTable, refuse_too_few, trees
from training.walkforward_candidates import Candidate
from training.walkforward_plan import Fold

_EQUAL = np.full(len(CLASSES), 1.0 / len(CLASSES))
_INVERSE_REGULARISATION = 0.01
_LEAST_LEAF_ROWS = 30


@dataclass(frozen=True, slots=True)
class FitTask:
    """Rows (n, 51) with labels and row weights to learn from, and the rows to answer for."""

    candidate: Candidate
    seed: int
    rows: FloatArray
    labels: IntArray
    weights: FloatArray
    asked: FloatArray


@dataclass(frozen=True, slots=True)
class Fitted:
    """`shares` are what the raw probabilities are corrected with; equal shares correct nothing."""

    estimator: Any
    shares: FloatArray
    class_shares: FloatArray


@dataclass(frozen=True, slots=True)
class Answer:
    """Raw probabilities (m, 3) for the rows asked for, in their order."""

    raw: FloatArray
    shares: FloatArray
    class_shares: FloatArray
    train_rows: int


def training_rows(table: LearningTable, fold: Fold, candidate: Candidate) -> tuple[FloatArray, IntArray, FloatArray]:
    """What a setting learns from in a fold: rows, labels, weights with mean one."""
    used = thinned(table.labels, table.grid.first_bar, candidate.stride)
    used[:, : fold.train_begin] = False
    used[:, fold.train_end :] = False
    rows, labels = table.pick(used)
    weights = np.ones(len(labels))
    if candidate.unique:
        weights *= average_uniqueness(table.lives, used)[used]
    if candidate.half_life_days is not None:
        ages = (fold.train_end - used.nonzero()[1]) * table.grid.granularity / 86_400
        weights *= time_decay(ages, candidate.half_life_days)
    return rows, labels, weights / weights.mean() if len(weights) else weights


def fit(rows: FloatArray, labels: IntArray, weights: FloatArray, candidate: Candidate, seed: int) -> Fitted:
    """Raises TrainingRefused where the rows are too few."""
    refuse_too_few(labels, candidate.trees.rows_per_leaf if candidate.trees else _LEAST_LEAF_ROWS, _LEAST_LEAF_ROWS)
    weighted = np.bincount(labels, weights=weights, minlength=len(CLASSES)) / weights.sum()
    total = weights * balanced_weights(labels, weighted) if candidate.balanced else weights
    with threadpool_limits(limits=1):
        if candidate.trees is None:
            estimator: Any = _logistic().fit(rows, labels, logisticregression__sample_weight=total)
        else:
            # Equal weights are left out: with any, the library finds its bin edges one by one.
            unequal = bool(np.ptp(total) > 0.0)
            estimator = trees(candidate.trees, seed).fit(rows, labels, sample_weight=total if unequal else None)
    return Fitted(estimator, weighted if candidate.balanced else _EQUAL, class_shares(labels))


def answer(task: FitTask) -> Answer:
    """Fits and predicts; equal tasks give equal answers in whatever process."""
    fitted = fit(task.rows, task.labels, task.weights, task.candidate, task.seed)
    with threadpool_limits(limits=1):
        raw = fitted.estimator.predict_proba(task.asked)
    return Answer(raw, fitted.shares, fitted.class_shares, len(task.labels))


def _logistic() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=200))
