"""Trains a model from candles within seconds and measures it on later bars than it learned from.

This is the quick plan of a first start and of a replay: few folds, one estimator, thresholds from the same held-out
bars. Folds move forward only, cut at the same calendar time for all products and purged by the label horizon; the
thorough plan is `walkforward_study`. Equal candles, settings and library versions give equal predictions.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from modelkit.candles import BoolArray, CandleArrays, FloatArray, IntArray
from modelkit.features.cleaning import Grid, clean
from modelkit.labels import NO_LABEL, LabelRule, Outcome, barrier_sigma, label_with_life, pays
from modelkit.metrics import auc_up_down, log_loss
from modelkit.sampling import CLASSES, balanced_weights, class_shares, correct_for_prior, thinned
from modelkit.serving import grid_stage
from training.backtest import Market, market_of
from training.evidence import HeldOut, ThresholdChoice, choose_thresholds
from training.exits import LIVE, Entries, Way, entries_of
from training.settings import EstimatorSettings, TrainingSettings

Progress = Callable[[str, float], None]
_SELF_TEST_ROWS = 16
_PSI_BINS = 10


class TrainingRefused(Exception):
    """These candles cannot train a model; `reason` is a code, `detail` says what is missing."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, or it could not be unpickled where it leaves a worker process
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


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
    `shares`. `evidence` is what a thorough walk-forward adds to the manifest's metrics."""

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
    temperature: float = 1.0
    settings_tried: int = 1
    evidence: Mapping[str, object] = field(default_factory=dict)

    @property
    def predictions_sha256(self) -> str:
        """Identity of what the model says; equal for equal candles, settings and versions."""
        return hashlib.sha256(np.ascontiguousarray(self.self_test_probabilities).tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class LearningTable:
    """Everything computed once per run: features (51, P, T), and (P, T) each: barrier, labels with the bars they
    lived, rows that have features; and what decisions at each bar come to, traded the way that is to be judged."""

    grid: Grid
    values: FloatArray
    barrier: FloatArray
    labels: IntArray
    lives: IntArray
    ready: BoolArray
    market: Market
    entries: Entries

    def held_out(self, edge: FloatArray, begin: int, end: int) -> HeldOut:
        """Of an edge (P, T), its bars [begin, end)."""
        inside = np.s_[:, begin:end]
        market, entries = self.market.part(begin, end), self.entries.part(begin, end)
        return HeldOut(edge[inside], self.barrier[inside], market, entries)

    def pick(self, mask: BoolArray) -> tuple[FloatArray, IntArray]:
        return np.ascontiguousarray(self.values[:, mask].T), self.labels[mask]


def train(candles: Mapping[str, CandleArrays], settings: TrainingSettings, progress: Progress) -> TrainedModel:
    """Features, labels, forward folds, thresholds, final fit on all rows. `progress` gets (step, share
    done)."""
    progress("features", 0.0)
    table = learning_table(candles, settings.granularity, settings.factor_product, settings.label, settings.way)
    sampled = thinned(table.labels, table.grid.first_bar, settings.stride)
    held_out, folds = _walk_forward(table, sampled, settings, progress)
    progress("thresholds", 0.75)
    choice = choose_thresholds(held_out, settings.label.round_trip_cost, settings.seed)
    progress("final fit", 0.80)
    rows, labels = table.pick(sampled)
    estimator, shares = _fit(rows, labels, settings)
    probe = self_test_rows(rows)
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
        candles_sha256=fingerprint(table.grid),
        folds=folds,
        choice=choice,
        buy_and_hold=float(np.log1p(held_out.market.gain).sum(axis=1).mean()),
        reference_bins=reference_bins(rows),
        self_test_rows=probe,
        self_test_probabilities=probabilities,
    )


def learning_table(
    candles: Mapping[str, CandleArrays],
    granularity: int,
    factor_product: str,
    rule: LabelRule,
    way: Way = LIVE,
) -> LearningTable:
    """Features and labels of all candles. Raises TrainingRefused where there is none."""
    if not any(len(rows) for rows in candles.values()):
        raise TrainingRefused("NO_CANDLES", "there is no candle to learn from")
    grid = clean(candles, granularity, factor_product)
    stage = grid_stage(grid)
    ready = np.isfinite(stage.values[0]) & ~grid.sparse()
    sigma = barrier_sigma(stage.sd_24, stage.sd_168, rule.horizon_bars)
    labels, lives = label_with_life(grid, sigma, ready, rule)
    barrier = rule.barrier_width * sigma
    entries = entries_of(grid, barrier, rule.horizon_bars, way)
    return LearningTable(grid, stage.values, barrier, labels, lives, ready, market_of(grid), entries)


def self_test_rows(rows: FloatArray) -> FloatArray:
    """A few of the rows a model learned from, spread over all of them."""
    return rows[np.linspace(0, len(rows) - 1, _SELF_TEST_ROWS).astype(np.int64)]


def reference_bins(rows: FloatArray) -> FloatArray:
    """(51, 9) inner quantiles of the rows a model learned from, which later rows are compared with."""
    return np.asarray(np.quantile(rows, np.linspace(0.0, 1.0, _PSI_BINS + 1)[1:-1], axis=0).T)


def _walk_forward(
    table: LearningTable, sampled: BoolArray, settings: TrainingSettings, progress: Progress
) -> tuple[HeldOut, tuple[FoldReport, ...]]:
    bars = table.grid.bars
    edges = np.linspace(bars * (1.0 - settings.held_out_share), bars, settings.folds + 1).astype(np.int64)
    edge = np.full(table.labels.shape, np.nan)
    reports = []
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        progress(f"fold {number + 1} of {settings.folds}", 0.1 + 0.65 * number / settings.folds)
        edge[:, begin:end], report = _fold(table, sampled, int(begin), int(end), settings)
        reports.append(report)
    return table.held_out(edge, int(edges[0]), bars), tuple(reports)


def _fold(
    table: LearningTable, sampled: BoolArray, begin: int, end: int, settings: TrainingSettings
) -> tuple[FloatArray, FoldReport]:
    """Learn from rows whose whole label lies before `begin`; predict every ready row of [begin, end)."""
    position = np.arange(table.grid.bars)
    known = sampled & (position < begin - settings.label.horizon_bars)
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
        log_loss=log_loss(probabilities[matured], outcomes[matured]),
        prior_log_loss=log_loss(np.tile(shares, (int(matured.sum()), 1)), outcomes[matured]),
        auc_up_down=auc_up_down(edge[asked & payable], table.labels[asked & payable]),
    )
    return edge[:, begin:end], report


def _fit(
    rows: FloatArray, labels: IntArray, settings: TrainingSettings
) -> tuple[HistGradientBoostingClassifier, FloatArray]:
    refuse_too_few(labels, settings.estimator.rows_per_leaf, settings.rows_per_class)
    shares = class_shares(labels)
    estimator = trees(settings.estimator, settings.seed)
    with threadpool_limits(limits=1):  # the trees are small: threads that wait for each other cost ten times more
        estimator.fit(rows, labels, sample_weight=balanced_weights(labels, shares))
    return estimator, shares


def refuse_too_few(labels: IntArray, rows_per_leaf: int, rows_per_class: int) -> None:
    """Raises TrainingRefused where the trees could not split once or would hardly know a class."""
    counts = {code.name: int(np.count_nonzero(labels == code)) for code in Outcome}
    needed = 2 * rows_per_leaf
    if len(labels) < needed or min(counts.values()) < rows_per_class:
        raise TrainingRefused(
            "TOO_FEW_ROWS",
            f"a fit needs {needed} rows to split once and {rows_per_class} of each class;"
            f" the candles give {len(labels)}: {counts}",
        )


def trees(chosen: EstimatorSettings, seed: int) -> HistGradientBoostingClassifier:
    """The estimator, not yet fitted."""
    return HistGradientBoostingClassifier(
        max_iter=chosen.iterations,
        learning_rate=chosen.learning_rate,
        max_leaf_nodes=chosen.leaves,
        min_samples_leaf=chosen.rows_per_leaf,
        l2_regularization=chosen.l2,
        max_features=chosen.feature_share,
        max_bins=chosen.bins,
        early_stopping=False,
        random_state=seed,
    )


def fingerprint(grid: Grid) -> str:
    """sha256 of the cleaned candles a model learned from."""
    digest = hashlib.sha256("\n".join((*grid.products, str(grid.granularity), str(grid.first_bar))).encode())
    for column in (grid.open, grid.high, grid.low, grid.close, grid.volume):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
