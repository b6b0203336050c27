"""One temperature for a model's scores, kept only where it has proved itself on later rows than it was fitted on.

The temperature divides the scores before the prior correction. It is then part of the estimator itself, so that
what is served needs no further step.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.ensemble import HistGradientBoostingClassifier

from modelkit.candles import FloatArray, IntArray
from modelkit.metrics import log_loss
from modelkit.sampling import correct_for_prior

NO_TEMPERATURE: Final = 1.0
LEAST_ROWS: Final = 2_000
_LOG_BOUNDS = (-1.5, 1.5)

Judged = tuple[FloatArray, FloatArray, IntArray]
"""Raw probabilities (n, 3) of one fold, the class shares (3) they are corrected with, outcomes (n)."""


def corrected(raw: FloatArray, shares: FloatArray, temperature: float) -> FloatArray:
    """Raw probabilities, made softer or sharper, with the true class shares put back."""
    if temperature == NO_TEMPERATURE:
        return correct_for_prior(raw, shares)
    scores = np.log(np.maximum(raw, 1e-300)) / temperature
    softened = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return correct_for_prior(softened / softened.sum(axis=-1, keepdims=True), shares)


def proven_temperature(earlier: Sequence[Judged]) -> float:
    """From out-of-fold rows of all earlier folds, oldest first; 1 unless it helped on the newest of them.

    Fitted on all but the newest fold, it has to lower the log loss of that one; then it is fitted on all of them.
    """
    if len(earlier) < 2 or sum(len(outcomes) for _, _, outcomes in earlier[:-1]) < LEAST_ROWS:
        return NO_TEMPERATURE
    candidate = _fitted(earlier[:-1])
    newest = earlier[-1:]
    return _fitted(earlier) if _loss(newest, candidate) < _loss(newest, NO_TEMPERATURE) else NO_TEMPERATURE


def with_temperature(estimator: HistGradientBoostingClassifier, temperature: float) -> HistGradientBoostingClassifier:
    """The same trees with their scores divided: base score and leaf values."""
    scaled = deepcopy(estimator)
    if temperature == NO_TEMPERATURE:
        return scaled
    scaled._baseline_prediction = scaled._baseline_prediction / temperature
    for round_ in scaled._predictors:
        for tree in round_:
            tree.nodes["value"] /= temperature
    return scaled


def _fitted(folds: Sequence[Judged]) -> float:
    found = minimize_scalar(lambda log_t: _loss(folds, float(np.exp(log_t))), bounds=_LOG_BOUNDS, method="bounded")
    return float(np.exp(found.x))


def _loss(folds: Sequence[Judged], temperature: float) -> float:
    rows = sum(len(outcomes) for _, _, outcomes in folds)
    total = sum(
        log_loss(corrected(raw, shares, temperature), outcomes) * len(outcomes) for raw, shares, outcomes in folds
    )
    return total / rows if rows else 0.0
