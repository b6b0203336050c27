"""How far the features of later rows have moved from those a model learned from: the population stability index.

Time features are left out: their distribution is the calendar's. Below 0.1 is calm, above 0.25 a warning, above
0.5 an alarm, although volatile years cross 0.25 without harm.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelkit.candles import FloatArray
from modelkit.features.definition import NAMES

BINS: Final = 10
TIME_FEATURES: Final = ("hour_sin", "hour_cos", "dow_sin", "dow_cos")
DRIFT_FEATURES: Final = tuple(name for name in NAMES if name not in TIME_FEATURES)
_COLUMNS = tuple(NAMES.index(name) for name in DRIFT_FEATURES)
_LEAST_SHARE = 1e-4


def drift(train_rows: FloatArray, test_rows: FloatArray) -> tuple[float, ...]:
    """One index per feature of `DRIFT_FEATURES`; rows are (n, 51)."""
    return tuple(stability_index(train_rows[:, column], test_rows[:, column]) for column in _COLUMNS)


def stability_index(train: FloatArray, test: FloatArray) -> float:
    """Sum of (q - p) ln(q / p) over ten bins between quantiles of the training values."""
    if not len(train) or not len(test):
        return 0.0
    inner = np.unique(np.quantile(train, np.linspace(0.0, 1.0, BINS + 1)[1:-1]))
    before, after = (_shares(values, inner) for values in (train, test))
    return float(np.sum((after - before) * np.log(after / before)))


def _shares(values: FloatArray, inner: FloatArray) -> FloatArray:
    counts = np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(inner) + 1)
    return np.asarray(np.maximum(counts / len(values), _LEAST_SHARE))
