"""Whether a model still sees what it was trained on, and whether it still knows more than its class shares.

Pure: a report is a function of stored rows. A feature that has moved asks for a retrain and never suspends; being worse
than the class shares of the training does, until the model is clearly better than them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import log
from typing import Final

import numpy as np

from modelkit.candles import FloatArray
from modelkit.features.definition import FEATURES

BINS: Final = 10
SCALE: Final = 10**12
MIN_BARS: Final = 100
"""Bars that a window of feature rows has to hold before they are measured."""
MIN_LABELS: Final = 500
RETURN_MARGIN: Final = 0.005
"""A suspended model serves again once its loss is this share below that of the class shares: a loss that merely wavers
about them would switch it at every check."""
_TIE: Final = 1e-9
_ABSENT_ROWS: Final = 0.5
_TIMELESS = tuple(feature for feature in FEATURES if feature.group != "time")


class Grade(StrEnum):
    """What a population stability index asks for; the limits are the usual ones of credit scoring (Siddiqi 2006)."""

    NONE = "NONE"
    NOTICE = "NOTICE"
    WARNING = "WARNING"
    ALARM = "ALARM"


_LIMITS: Final = ((0.5, Grade.ALARM), (0.25, Grade.WARNING), (0.1, Grade.NOTICE))


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one feature has moved from its training."""

    name: str
    psi: float

    @property
    def grade(self) -> Grade:
        return grade(self.psi)


@dataclass(frozen=True, slots=True)
class Tally:
    """A model's own signals between two checks, summed: their sides, confidence, edges by bin; and the labels that
    matured meanwhile.

    `edge_counts` is empty while there are no bins to count into; `outcomes` counts DOWN, NEUTRAL, UP. `confidence` and
    `loss` (nats) are sums of `SCALE` parts: integers add up to the same in any order.
    """

    signals: int
    buys: int
    sells: int
    confidence: int
    edge_counts: tuple[int, ...]
    outcomes: tuple[int, ...]
    loss: int

    @property
    def labels(self) -> int:
        return sum(self.outcomes)

    @property
    def log_loss(self) -> float:
        """Mean per label, nats; 0 without labels."""
        return self.loss / SCALE / self.labels if self.labels else 0.0

    def share(self, part: float) -> float:
        """A part of the signals as a share of them; 0 without signals."""
        return part / self.signals if self.signals else 0.0


@dataclass(frozen=True, slots=True)
class DriftReport:
    """One drift check of a model. Shares and means are over its own signals of the last days, losses in nats per label.

    `rows` and `features` are empty while there is too little to compare, `edge_psi` is 0 until then. `own_since` is the
    close of the model's first bar and `edge_bins` the quantiles of its first edges: later checks compare with them.
    `part` is what this check adds to those before it.
    """

    model_version: str
    as_of: datetime
    rows: int
    features: tuple[FeatureDrift, ...]
    edge_psi: float
    buy_share: float
    sell_share: float
    mean_confidence: float
    matured_labels: int
    log_loss: float
    prior_log_loss: float
    suspended: bool
    own_since: datetime | None
    edge_bins: tuple[float, ...]
    part: Tally

    @property
    def max_psi(self) -> float:
        return max((feature.psi for feature in self.features), default=0.0)


def grade(psi: float) -> Grade:
    """The grade of an index."""
    return next((found for limit, found in _LIMITS if psi >= limit), Grade.NONE)


def stability_index(shares: FloatArray, rows: int) -> FloatArray:
    """PSI of observed bin shares (..., 10) of so many rows against bins that held a tenth of the training each.

    Half a row is added to every bin, so that an empty one is as rare as the rows allow to say, and no rarer.
    """
    observed = (shares * rows + _ABSENT_ROWS) / (rows + BINS * _ABSENT_ROWS)
    expected = 1.0 / BINS
    return np.asarray(((observed - expected) * np.log(observed / expected)).sum(axis=-1))


def bin_shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    """Shares (F, 10) of the values (n, F) in the bins between the training's deciles (F, 9).

    Values equal to a decile belong to either side of it, as they did in the training (the factor's own beta is always 1,
    a share of 24 bars takes 25 values): they are shared out in the way that differs least from it.
    """
    width = _TIE * (1.0 + np.abs(edges))
    below = np.count_nonzero(values[:, :, None] < edges - width, axis=0) / len(values)
    up_to = np.count_nonzero(values[:, :, None] <= edges + width, axis=0) / len(values)
    reached = np.clip(np.arange(1, BINS) / BINS, below, up_to)
    return np.diff(reached, axis=-1, prepend=0.0, append=1.0)


def feature_drift(
    values: FloatArray, bars: int, reference_bins: Mapping[str, Sequence[float]]
) -> tuple[FeatureDrift, ...]:
    """Drift of every feature but the times, largest first; empty with fewer than `MIN_BARS` bars or without reference.

    `values` (n, 51) are feature rows of all products together, of that many different bars.
    """
    compared = [feature for feature in _TIMELESS if len(reference_bins.get(feature.name, ())) == BINS - 1]
    if bars < MIN_BARS or not compared:
        return ()
    edges = np.asarray([reference_bins[feature.name] for feature in compared], dtype=np.float64)
    shares = bin_shares(values[:, [feature.index for feature in compared]], edges)
    found = [
        FeatureDrift(feature.name, float(psi))
        for feature, psi in zip(compared, stability_index(shares, len(values)), strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.psi, one.name)))


def total(parts: Sequence[Tally]) -> Tally:
    """The sum of the parts; edges only where all of them were counted."""
    counted = all(part.edge_counts for part in parts)
    return Tally(
        signals=sum(part.signals for part in parts),
        buys=sum(part.buys for part in parts),
        sells=sum(part.sells for part in parts),
        confidence=sum(part.confidence for part in parts),
        edge_counts=tuple(map(sum, zip(*(part.edge_counts for part in parts), strict=True))) if counted else (),
        outcomes=tuple(map(sum, zip(*(part.outcomes for part in parts), strict=True))),
        loss=sum(part.loss for part in parts),
    )


def edge_drift(counts: Sequence[int]) -> float:
    """PSI of edges counted into the deciles of the model's first ones; 0 where none are counted."""
    rows = sum(counts)
    return float(stability_index(np.asarray(counts, dtype=np.float64) / rows, rows)) if rows else 0.0


def prior_loss(outcomes: Sequence[int], class_shares: Sequence[float]) -> float:
    """Mean log loss of always saying the class shares of the training; 0 without labels."""
    labels = sum(outcomes)
    total = sum(count * -log(share) for count, share in zip(outcomes, class_shares, strict=True) if count)
    return total / labels if labels else 0.0


def is_suspended(before: bool, labels: int, log_loss: float, prior_log_loss: float) -> bool:
    """Whether the model has to hold from now on; too few labels leave things as they are."""
    if labels < MIN_LABELS:
        return before
    return log_loss > prior_log_loss * (1.0 - RETURN_MARGIN if before else 1.0)
