"""The thorough training: tries a few settings forward in time, takes the one that predicts best, and judges it once.

The choice is made on the folds alone. Then, and only then, the last block is predicted, by the chosen setting and
the logistic baseline. What ships is the chosen setting, fitted up to the newest known label, with the temperature
and the thresholds that were judged on that last block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from modelkit.candles import CandleArrays
from modelkit.features.definition import READY_BARS
from modelkit.labels import NO_LABEL, LabelRule, pays
from modelkit.metrics import log_loss, measure
from tradekit.fees import DEFAULT_MAKER_FEE
from training.calibration import corrected, with_temperature
from training.exits import LIVE, Way
from training.fit import (
    FoldReport,
    LearningTable,
    Progress,
    TrainedModel,
    TrainingRefused,
    fingerprint,
    learning_table,
    reference_bins,
    self_test_rows,
)
from training.metrics_drift import drift
from training.settings import TrainingSettings
from training.walkforward import Answers, Run, answers_of, asked_rows, assemble
from training.walkforward_candidates import CANDIDATES, LOGISTIC, MOST_TRIALS, RULES, Candidate
from training.walkforward_fit import fit, training_rows
from training.walkforward_parallel import Workers
from training.walkforward_plan import Fold, WalkForwardPlan, plan_walk_forward

COST_LADDER = (0.0, 0.001, 0.0025, 0.006, 0.009)
"""Per side. The account's own cost joins it."""


@dataclass(frozen=True, slots=True)
class StudySettings:
    """What a thorough training may vary; `way` is how decisions are traded where a model is judged, `source_sha256` names the
    files the candles came from."""

    granularity: int = 3600
    factor_product: str = "BTC-USD"
    label: LabelRule = field(default_factory=LabelRule)
    way: Way = LIVE
    seed: int = 51
    candidates: tuple[Candidate, ...] = CANDIDATES
    source_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names) or LOGISTIC not in names or len(names) < 2:
            raise ValueError("candidates need different names, the logistic baseline and one more")
        if len(names) * len(RULES) > MOST_TRIALS:
            raise ValueError(f"{len(names)} settings by {len(RULES)} rules are more than {MOST_TRIALS} trials")

    @property
    def account_cost(self) -> float:
        """Per side: fee and slippage."""
        return self.label.fee_ratio + self.label.slippage_ratio

    @property
    def maker_fee(self) -> float:
        """Of an entry that rests. No tier charges more for that than for taking."""
        return min(float(DEFAULT_MAKER_FEE), self.label.fee_ratio)

    @property
    def costs(self) -> tuple[float, ...]:
        """The ladder and the account's cost, per side, ascending."""
        return tuple(sorted({*COST_LADDER, self.account_cost}))


@dataclass(frozen=True, slots=True)
class Study:
    """The results. `tried` covers the folds; `chosen` and `logistic` the last block as well."""

    settings: StudySettings
    table: LearningTable
    plan: WalkForwardPlan
    tried: tuple[Run, ...]
    chosen: Run
    logistic: Run
    drift: tuple[tuple[float, ...], ...]
    model: TrainedModel

    @property
    def blocks(self) -> tuple[Fold, ...]:
        return (*self.plan.folds, self.plan.final)


def study(candles: Mapping[str, CandleArrays], settings: StudySettings, workers: Workers, progress: Progress) -> Study:
    """Raises TrainingRefused where the candles do not allow a model."""
    progress("features", 0.0)
    table = learning_table(candles, settings.granularity, settings.factor_product, settings.label, settings.way)
    return study_table(table, settings, workers, progress)


def study_table(table: LearningTable, settings: StudySettings, workers: Workers, progress: Progress) -> Study:
    """As `study`, from features and labels."""
    plan = _plan(table, settings)
    round_trip = 2.0 * settings.account_cost
    answers = answers_of(
        table,
        plan.folds,
        settings.candidates,
        settings.seed,
        workers,
        lambda done, of: progress(f"fit {done} of {of}", 0.05 + 0.75 * done / of),
    )
    tried = tuple(
        assemble(table, plan.folds, candidate, answers, (round_trip,), settings.seed)
        for candidate in settings.candidates
    )
    best = min((run for run in tried if run.candidate.trees), key=lambda run: mean_log_loss(table, run)).candidate
    progress("the last block", 0.82)
    chosen, logistic = _final(table, plan, best, settings, answers, workers)
    progress("the model that ships", 0.88)
    return Study(
        settings=settings,
        table=table,
        plan=plan,
        tried=tried,
        chosen=chosen,
        logistic=logistic,
        drift=tuple(_drift(table, fold, best) for fold in (*plan.folds, plan.final)),
        model=_ship(table, plan, chosen, len(settings.candidates), settings),
    )


def mean_log_loss(table: LearningTable, run: Run) -> float:
    """Mean over blocks, so that each stretch of time counts the same."""
    losses = []
    for block in run.blocks:
        mask = asked_rows(table, block.fold) & (table.labels != NO_LABEL)
        losses.append(log_loss(run.probabilities[mask], table.labels[mask]))
    return float(np.mean(losses))


def _plan(table: LearningTable, settings: StudySettings) -> WalkForwardPlan:
    ready = table.ready.any(axis=0)
    if not ready.any():
        raise TrainingRefused("TOO_FEW_ROWS", f"no product has {READY_BARS} bars in a row and a complete factor")
    return plan_walk_forward(int(ready.argmax()), table.grid.bars, settings.granularity, settings.label.horizon_bars)


def _final(
    table: LearningTable,
    plan: WalkForwardPlan,
    best: Candidate,
    settings: StudySettings,
    answers: Answers,
    workers: Workers,
) -> tuple[Run, Run]:
    logistic = next(candidate for candidate in settings.candidates if candidate.name == LOGISTIC)
    pair = (best, logistic)
    last = answers_of(table, (plan.final,), pair, settings.seed, workers, lambda done, of: None)
    known = {**answers, **last}
    round_trips = tuple(2.0 * cost for cost in settings.costs)
    blocks = (*plan.folds, plan.final)
    one, other = (assemble(table, blocks, each, known, round_trips, settings.seed) for each in pair)
    return one, other


def _drift(table: LearningTable, fold: Fold, candidate: Candidate) -> tuple[float, ...]:
    learned = training_rows(table, fold, candidate)[0]
    return drift(learned, table.pick(asked_rows(table, fold))[0])


def _ship(
    table: LearningTable, plan: WalkForwardPlan, chosen: Run, settings_tried: int, settings: StudySettings
) -> TrainedModel:
    candidate, judged = chosen.candidate, chosen.blocks[-1]
    rows, labels, weights = training_rows(table, plan.fold_after(table.grid.bars), candidate)
    fitted = fit(rows, labels, weights, candidate, settings.seed)
    estimator = with_temperature(fitted.estimator, judged.temperature)
    probe = self_test_rows(rows)
    start = table.grid.start
    first = plan.folds[0].test_begin
    return TrainedModel(
        estimator=estimator,
        settings=TrainingSettings(
            granularity=settings.granularity,
            factor_product=settings.factor_product,
            label=settings.label,
            way=settings.way,
            estimator=candidate.trees or TrainingSettings().estimator,
            stride=candidate.stride,
            seed=settings.seed,
            source_sha256=settings.source_sha256,
        ),
        shares=fitted.shares,
        products=table.grid.products,
        train_from=int(start[plan.fold_after(table.grid.bars).train_begin]),
        train_to=int(start[-1]) + settings.granularity,
        rows=len(rows),
        candles_sha256=fingerprint(table.grid),
        folds=tuple(_fold_report(table, chosen, number, settings.label) for number in range(len(chosen.blocks))),
        choice=judged.choices[2.0 * settings.account_cost],
        buy_and_hold=float(np.log1p(table.market.gain[:, first:]).sum(axis=1).mean()),
        reference_bins=reference_bins(rows),
        self_test_rows=probe,
        self_test_probabilities=corrected(estimator.predict_proba(probe), fitted.shares, 1.0),
        temperature=judged.temperature,
        settings_tried=settings_tried * len(RULES),
    )


def _fold_report(table: LearningTable, run: Run, number: int, rule: LabelRule) -> FoldReport:
    block = run.blocks[number]
    mask = asked_rows(table, block.fold) & (table.labels != NO_LABEL)
    outcomes = table.labels[mask]
    payable = pays(table.barrier[mask], rule)
    found = measure(run.probabilities[mask], outcomes, payable)
    start = table.grid.start
    return FoldReport(
        begin=int(start[block.fold.test_begin]),
        end=int(start[block.fold.test_end - 1]) + table.grid.granularity,
        train_rows=block.train_rows,
        rows=found.rows,
        log_loss=found.log_loss,
        prior_log_loss=log_loss(np.tile(block.class_shares, (len(outcomes), 1)), outcomes),
        auc_up_down=found.auc_up_down,
    )
