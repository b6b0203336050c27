"""How good probabilities are: losses, calibration, ranking, and what the strongest calls were worth.

Every number is over rows whose outcome is known; a model is only ever judged on rows it did not learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.labels import Outcome

RELIABILITY_BINS: Final = 20
EDGE_THRESHOLDS: Final = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
_LEAST = 1e-15


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows whose predicted probability of UP lies in one twentieth of [0, 1]."""

    rows: int
    mean_predicted: float
    share_up: float


@dataclass(frozen=True, slots=True)
class CallPrecision:
    """How often rows with at least this edge for a side turned out that way."""

    edge: float
    buys: int
    buy_precision: float | None
    sells: int
    sell_precision: float | None


@dataclass(frozen=True, slots=True)
class ProbabilityMetrics:
    """Losses over three classes; `auc_up_down` is None where one of the two sides is missing."""

    rows: int
    log_loss: float
    brier: float
    ece_up: float
    auc_up_down: float | None


def measure(probabilities: FloatArray, outcomes: IntArray, payable: BoolArray) -> ProbabilityMetrics:
    """All of one set of rows: (n, 3), (n), (n).

    The ranking of UP against DOWN looks at `payable` rows alone: elsewhere the cost rule leaves no UP, and telling
    calm hours from wild ones would look like knowing the direction.
    """
    edge = probabilities[:, Outcome.UP] - probabilities[:, Outcome.DOWN]
    return ProbabilityMetrics(
        rows=len(outcomes),
        log_loss=log_loss(probabilities, outcomes),
        brier=brier(probabilities, outcomes),
        ece_up=calibration_error(reliability(probabilities, outcomes)),
        auc_up_down=auc_up_down(edge[payable], outcomes[payable]),
    )


def log_loss(probabilities: FloatArray, outcomes: IntArray) -> float:
    """Mean negative log probability of what happened; 0 without rows."""
    if not len(outcomes):
        return 0.0
    chosen = probabilities[np.arange(len(outcomes)), outcomes]
    return float(-np.mean(np.log(np.maximum(chosen, _LEAST))))


def brier(probabilities: FloatArray, outcomes: IntArray) -> float:
    """Mean squared error summed over the classes (Brier 1950); 0 without rows."""
    if not len(outcomes):
        return 0.0
    happened = np.eye(len(Outcome))[outcomes]
    return float(np.mean(np.sum(np.square(probabilities - happened), axis=1)))


def auc_up_down(edge: FloatArray, outcomes: IntArray) -> float | None:
    """Area under the curve of the edge on UP against DOWN rows; None if one of them is missing."""
    decided = outcomes != Outcome.NEUTRAL
    up = outcomes[decided] == Outcome.UP
    if up.all() or not up.any():
        return None
    return float(roc_auc_score(up, edge[decided]))


def reliability(probabilities: FloatArray, outcomes: IntArray) -> tuple[ReliabilityBin, ...]:
    """What happened where UP was given a probability of so much: 20 equal bins, empty ones with zero rows."""
    predicted = probabilities[:, Outcome.UP]
    bins = np.minimum((predicted * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    rows = np.bincount(bins, minlength=RELIABILITY_BINS)
    said = np.bincount(bins, weights=predicted, minlength=RELIABILITY_BINS)
    came = np.bincount(bins, weights=outcomes == Outcome.UP, minlength=RELIABILITY_BINS)
    return tuple(
        ReliabilityBin(int(n), float(s / n) if n else 0.0, float(c / n) if n else 0.0)
        for n, s, c in zip(rows, said, came, strict=True)
    )


def calibration_error(table: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error: the mean gap between said and seen, weighted by rows."""
    total = sum(each.rows for each in table)
    return sum(each.rows * abs(each.mean_predicted - each.share_up) for each in table) / total if total else 0.0


def precision_at(
    probabilities: FloatArray, outcomes: IntArray, thresholds: Sequence[float] = EDGE_THRESHOLDS
) -> tuple[CallPrecision, ...]:
    """Count of calls and share that came true at each threshold of the edge."""
    edge = probabilities[:, Outcome.UP] - probabilities[:, Outcome.DOWN]
    found = []
    for threshold in thresholds:
        buys, sells = outcomes[edge >= threshold], outcomes[edge <= -threshold]
        found.append(
            CallPrecision(threshold, len(buys), _share(buys, Outcome.UP), len(sells), _share(sells, Outcome.DOWN))
        )
    return tuple(found)


def _share(outcomes: IntArray, wanted: Outcome) -> float | None:
    return float(np.mean(outcomes == wanted)) if len(outcomes) else None
