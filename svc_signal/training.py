"""Trains the model from candles and measures it on later bars than it learned from.

Folds move forward only, cut at the same calendar time for all products and purged by the label horizon. The
answer holds everything the manifest reports; equal candles, settings and library versions give equal
predictions.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from svc_signal.candles import BoolArray, CandleArrays, FloatArray, IntArray
from svc_signal.evidence import HeldOut, ThresholdChoice, choose_thresholds
from svc_signal.features.cleaning import Grid, clean
from svc_signal.labels import NO_LABEL, LabelRule, Outcome, barrier_sigma, label, pays
from svc_signal.sampling import CLASSES, balanced_weights, class_shares, correct_for_prior, thinned
from svc_signal.serving import grid_stage

Progress = Callable[[str, float], None]
_SELF_TEST_ROWS = 16
_PSI_BINS = 10


class TrainingRefused(Exception):
    """These candles cannot train a model; `reason` is a code, `detail` says what is missing."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class EstimatorSettings:
    """Settings of the gradient-boosted trees."""

    iterations: int = 120
    learning_rate: float = 0.04
    leaves: int = 15
    rows_per_leaf: int = 400
    l2: float = 10.0
    feature_share: float = 0.5
    bins: int = 32
    """Few, because the library finds weighted bin edges one by one: 255 cost 12 s per fit, 32 about 1.5 s."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training run may vary; `source_sha256` names the files the candles came from."""

    granularity: int = 3600
    factor_product: str = "BTC-USD"
    label: LabelRule = field(default_factory=LabelRule)
    estimator: EstimatorSettings = field(default_factory=EstimatorSettings)
    stride: int = 5
    seed: int = 51
    folds: int = 3
    held_out_share: float = 0.45
    rows_per_class: int = 30
    source_sha256: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoldReport:
    """One held-out block from `begin` to `end` (unix seconds); losses are over the model's three classes.

    `auc_up_down` ranks UP against DOWN by the edge, among rows whose barrier pays the round trip: elsewhere
    the cost rule leaves no UP, and telling calm from wild hours would look like knowing the direction.
    """

    begin: int
    end: int
    train_rows: int
    rows: int
    log_loss: float
    prior_log_loss: float
    auc_up_down: float | None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The estimator with what its manifest will say; probabilities are the estimator's, corrected for
    `shares`."""

    estimator: HistGradientBoostingClassifier
    settings: TrainingSettings
    shares: FloatArray
    products: tuple[str, ...]
    train_from: int
    train_to: int
    rows: int
    candles_sha256: str
    folds: tuple[FoldReport, ...]
    choice: ThresholdChoice
    buy_and_hold: float
    reference_bins: FloatArray
    self_test_rows: FloatArray
    self_test_probabilities: FloatArray

    @property
    def predictions_sha256(self) -> str:
        """Identity of what the model says; equal for equal candles, settings and versions."""
        return hashlib.sha256(np.ascontiguousarray(self.self_test_probabilities).tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Table:
    """Everything computed once per run: features (51, P, T), barrier and labels (P, T), rows to learn
    from."""

    grid: Grid
    values: FloatArray
    barrier: FloatArray
    labels: IntArray
    ready: BoolArray
    sampled: BoolArray

    def pick(self, mask: BoolArray) -> tuple[FloatArray, IntArray]:
        return np.ascontiguousarray(self.values[:, mask].T), self.labels[mask]


def train(candles: Mapping[str, CandleArrays], settings: TrainingSettings, progress: Progress) -> TrainedModel:
    """Features, labels, forward folds, thresholds, final fit on all rows. `progress` gets (step, share
    done)."""
    progress("features", 0.0)
    table = _table(candles, settings)
    held_out, folds = _walk_forward(table, settings, progress)
    progress("thresholds", 0.75)
    choice = choose_thresholds(held_out, settings.label.round_trip_cost, settings.seed)
    progress("final fit", 0.80)
    rows, labels = table.pick(table.sampled)
    estimator, shares = _fit(rows, labels, settings)
    probe = rows[np.linspace(0, len(rows) - 1, _SELF_TEST_ROWS).astype(np.int64)]
    probabilities = correct_for_prior(estimator.predict_proba(probe), shares)
    progress("done", 1.0)
    start = table.grid.start
    return TrainedModel(
        estimator=estimator,
        settings=settings,
        shares=shares,
        products=table.grid.products,
        train_from=int(start[0]),
        train_to=int(start[-1]) + settings.granularity,
        rows=len(rows),
        candles_sha256=_fingerprint(table.grid),
        folds=folds,
        choice=choice,
        buy_and_hold=float(np.nansum(held_out.next_return, axis=1).mean()),
        reference_bins=np.quantile(rows, np.linspace(0.0, 1.0, _PSI_BINS + 1)[1:-1], axis=0).T,
        self_test_rows=probe,
        self_test_probabilities=probabilities,
    )


def _table(candles: Mapping[str, CandleArrays], settings: TrainingSettings) -> _Table:
    if not any(len(rows) for rows in candles.values()):
        raise TrainingRefused("NO_CANDLES", "there is no candle to learn from")
    grid = clean(candles, settings.granularity, settings.factor_product)
    stage = grid_stage(grid)
    ready = np.isfinite(stage.values[0]) & ~grid.sparse()
    rule = settings.label
    sigma = barrier_sigma(stage.sd_24, stage.sd_168, rule.horizon_bars)
    labels = label(grid, sigma, ready, rule)
    sampled = thinned(labels, grid.first_bar, settings.stride)
    return _Table(grid, stage.values, rule.barrier_width * sigma, labels, ready, sampled)


def _walk_forward(
    table: _Table, settings: TrainingSettings, progress: Progress
) -> tuple[HeldOut, tuple[FoldReport, ...]]:
    bars = table.grid.bars
    edges = np.linspace(bars * (1.0 - settings.held_out_share), bars, settings.folds + 1).astype(np.int64)
    edge = np.full(table.labels.shape, np.nan)
    reports = []
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        progress(f"fold {number + 1} of {settings.folds}", 0.1 + 0.65 * number / settings.folds)
        edge[:, begin:end], report = _fold(table, int(begin), int(end), settings)
        reports.append(report)
    first = int(edges[0])
    return HeldOut(edge[:, first:], table.barrier[:, first:], _next_return(table.grid)[:, first:]), tuple(reports)


def _fold(table: _Table, begin: int, end: int, settings: TrainingSettings) -> tuple[FloatArray, FoldReport]:
    """Learn from rows whose whole label lies before `begin`; predict every ready row of [begin, end)."""
    position = np.arange(table.grid.bars)
    known = table.sampled & (position < begin - settings.label.horizon_bars)
    rows, labels = table.pick(known)
    estimator, shares = _fit(rows, labels, settings)
    asked = table.ready & (position >= begin) & (position < end)
    edge = np.full(table.labels.shape, np.nan)
    probabilities = np.empty((0, len(CLASSES)))
    if asked.any():
        probabilities = correct_for_prior(estimator.predict_proba(table.pick(asked)[0]), shares)
        edge[asked] = probabilities[:, Outcome.UP] - probabilities[:, Outcome.DOWN]
    outcomes = table.labels[asked]
    matured = outcomes != NO_LABEL
    payable = (table.labels != NO_LABEL) & pays(table.barrier, settings.label)
    report = FoldReport(
        begin=int(table.grid.start[begin]),
        end=int(table.grid.start[end - 1]) + settings.granularity,
        train_rows=len(rows),
        rows=int(matured.sum()),
        log_loss=_log_loss(probabilities[matured], outcomes[matured]),
        prior_log_loss=_log_loss(np.tile(shares, (int(matured.sum()), 1)), outcomes[matured]),
        auc_up_down=_auc(edge[asked & payable], table.labels[asked & payable]),
    )
    return edge[:, begin:end], report


def _fit(
    rows: FloatArray, labels: IntArray, settings: TrainingSettings
) -> tuple[HistGradientBoostingClassifier, FloatArray]:
    counts = {code.name: int(np.count_nonzero(labels == code)) for code in Outcome}
    needed = 2 * settings.estimator.rows_per_leaf
    if len(rows) < needed or min(counts.values()) < settings.rows_per_class:
        raise TrainingRefused(
            "TOO_FEW_ROWS",
            f"a fit needs {needed} rows to split once and {settings.rows_per_class} of each class;"
            f" the candles give {len(rows)}: {counts}",
        )
    shares = class_shares(labels)
    chosen = settings.estimator
    estimator = HistGradientBoostingClassifier(
        max_iter=chosen.iterations,
        learning_rate=chosen.learning_rate,
        max_leaf_nodes=chosen.leaves,
        min_samples_leaf=chosen.rows_per_leaf,
        l2_regularization=chosen.l2,
        max_features=chosen.feature_share,
        max_bins=chosen.bins,
        early_stopping=False,
        random_state=settings.seed,
    )
    with threadpool_limits(limits=1):  # the trees are small: threads that wait for each other cost ten times more
        estimator.fit(rows, labels, sample_weight=balanced_weights(labels, shares))
    return estimator, shares


def _next_return(grid: Grid) -> FloatArray:
    """Log return a decision at bar t earns in its first bar: open of t+1 to open of t+2."""
    found = np.full(grid.open.shape, np.nan)
    log_open = np.log(grid.open)
    found[:, :-2] = log_open[:, 2:] - log_open[:, 1:-1]
    return found


def _log_loss(probabilities: FloatArray, outcomes: IntArray) -> float:
    if not len(outcomes):
        return 0.0
    chosen = probabilities[np.arange(len(outcomes)), outcomes]
    return float(-np.mean(np.log(np.maximum(chosen, 1e-15))))


def _auc(edge: FloatArray, outcomes: IntArray) -> float | None:
    """Area under the curve of the edge on UP against DOWN rows; None if one of them is missing."""
    decided = outcomes != Outcome.NEUTRAL
    up = outcomes[decided] == Outcome.UP
    if up.all() or not up.any():
        return None
    return float(roc_auc_score(up, edge[decided]))


def _fingerprint(grid: Grid) -> str:
    """sha256 of the cleaned candles a model learned from."""
    digest = hashlib.sha256("\n".join((*grid.products, str(grid.granularity), str(grid.first_bar))).encode())
    for column in (grid.open, grid.high, grid.low, grid.close, grid.volume):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
