"""The walk-forward: cuts in time, nothing from later in anything fitted, equal results from any number of workers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelkit.candles import CandleArrays, FloatArray
from modelkit.labels import NO_LABEL, LabelRule
from modelkit.loading import load_model
from modelkit.manifest import MANIFEST_NAME, parse
from modelkit.metrics import log_loss
from modelkit.signing import Trust
from tests.signal.signal_series import FIRST_BAR, HOUR, synthetic
from training.artifact import write_model
from training.calibration import NO_TEMPERATURE, corrected, proven_temperature, with_temperature
from training.evidence import ALWAYS_HOLD
from training.fit import LearningTable, TrainingRefused, learning_table
from training.settings import EstimatorSettings
from training.walkforward import Run, answers_of, assemble
from training.walkforward_candidates import CANDIDATES, LOGISTIC, MOST_TRIALS, RULES, Candidate
from training.walkforward_fit import training_rows
from training.walkforward_parallel import BackendMissing, Workers, require_backend
from training.walkforward_plan import plan_walk_forward
from training.walkforward_study import Study, StudySettings, study, study_table

CHEAP = LabelRule(fee_ratio=0.0005)
TINY = EstimatorSettings(iterations=5, leaves=6, rows_per_leaf=40, bins=6)
FEW = (Candidate("trees", "small", TINY), Candidate(LOGISTIC, "a baseline", None))
SETTINGS = StudySettings(label=CHEAP, candidates=FEW)
BARS = 2_800
ROUND_TRIP = 2.0 * SETTINGS.account_cost


def quiet(step: str, share: float) -> None:
    assert step and 0.0 <= share <= 1.0


@pytest.fixture(scope="module")
def candles() -> dict[str, CandleArrays]:
    """The third product begins later and misses an hour now and then."""
    series = synthetic(3, BARS, seed=31)
    late = np.arange(BARS) > 500
    late[::97] = False
    return {**series, "C02-USD": series["C02-USD"].take(late)}


@pytest.fixture(scope="module")
def table(candles: dict[str, CandleArrays]) -> LearningTable:
    return learning_table(candles, HOUR, "BTC-USD", CHEAP)


@pytest.fixture(scope="module")
def found(table: LearningTable) -> Study:
    return study_table(table, SETTINGS, Workers(), quiet)


@pytest.mark.parametrize(
    ("days", "folds", "test_days"), [(2_850, 10, 182), (1_750, 6, 182), (550, 6, 43), (117, 3, 16)]
)
def test_folds_are_as_many_and_as_long_as_the_data_allow(days: int, folds: int, test_days: int) -> None:
    plan = plan_walk_forward(350, 350 + days * 24, HOUR, 24)
    blocks = (*plan.folds, plan.final)
    assert len(plan.folds) == folds
    assert {round((fold.test_end - fold.test_begin) / 24) for fold in blocks} <= {test_days, test_days + 1}
    assert plan.final.test_end == 350 + days * 24
    for before, after in itertools.pairwise(blocks):
        assert before.test_end == after.test_begin
    assert all(350 <= fold.train_begin < fold.train_end == fold.test_begin - 24 for fold in blocks)
    assert all(fold.test_begin - fold.train_begin <= 730 * 24 for fold in blocks)
    assert bool(plan.shortfall) == (days < 2_000)
    assert plan.fold_after(9_000_000).train_end == 9_000_000 - 24


def test_labels_of_training_rows_end_before_the_test_begins_for_every_product(table: LearningTable) -> None:
    plan = plan_walk_forward(350, table.grid.bars, HOUR, CHEAP.horizon_bars)
    for fold in (*plan.folds, plan.final):
        for candidate in CANDIDATES:
            # A row tells its bar by its first feature column, which is replaced by the bar's number here.
            marked = replace(table, values=np.broadcast_to(np.arange(table.grid.bars, dtype=float), table.values.shape))
            rows, _, weights = training_rows(marked, fold, candidate)
            last = rows[:, 0].astype(np.int64)
            assert len(last) and (last + CHEAP.horizon_bars < fold.test_begin).all()
            assert (last >= fold.train_begin).all()
            assert weights.mean() == pytest.approx(1.0)
    assert (table.lives[table.labels != NO_LABEL] <= CHEAP.horizon_bars).all()


def test_equal_inputs_give_equal_predictions_with_any_number_of_jobs(
    candles: dict[str, CandleArrays], found: Study
) -> None:
    again = study(dict(reversed(candles.items())), SETTINGS, Workers(jobs=2), quiet)
    assert again.model.predictions_sha256 == found.model.predictions_sha256
    assert np.array_equal(again.chosen.probabilities, found.chosen.probabilities, equal_nan=True)
    assert again.model.choice == found.model.choice and again.model.folds == found.model.folds
    assert again.drift == found.drift


def test_nothing_of_a_block_is_fitted_on_what_came_later(
    candles: dict[str, CandleArrays], table: LearningTable
) -> None:
    """Another future from the cut on: what is taken into the block is the same to the last bit."""
    plan = plan_walk_forward(350, table.grid.bars, HOUR, CHEAP.horizon_bars)
    blocks = plan.folds[:3]
    cut = blocks[-1].test_begin
    other_candles = {}
    for name, rows in candles.items():
        later = rows.start >= (table.grid.first_bar + cut) * HOUR
        factor = np.where(later, 0.5, 1.0)
        prices = {key: getattr(rows, key) * factor for key in ("open", "high", "low", "close")}
        other_candles[name] = replace(rows, volume=rows.volume * np.where(later, 3.0, 1.0), **prices)
    other = learning_table(other_candles, HOUR, "BTC-USD", CHEAP)
    one, two = (prepared(each, blocks) for each in (table, other))
    assert not np.array_equal(one.edge[:, cut:], two.edge[:, cut:], equal_nan=True)
    assert np.array_equal(one.edge[:, :cut], two.edge[:, :cut], equal_nan=True)
    for mine, theirs in zip(one.blocks, two.blocks, strict=True):
        assert mine.temperature == theirs.temperature
        assert mine.choices == theirs.choices
        assert np.array_equal(mine.shares, theirs.shares) and mine.train_rows == theirs.train_rows
    for candidate in (*CANDIDATES, *FEW):
        mine_rows, their_rows = (training_rows(each, blocks[-1], candidate) for each in (table, other))
        assert all(np.array_equal(a, b) for a, b in zip(mine_rows, their_rows, strict=True))


def prepared(table: LearningTable, blocks: tuple) -> Run:  # type: ignore[type-arg]
    answers = answers_of(table, blocks, FEW[:1], 51, Workers(), lambda done, of: None)
    return assemble(table, blocks, FEW[0], answers, (ROUND_TRIP,), 51)


def test_the_first_block_holds_and_later_ones_know_only_what_was_before(found: Study) -> None:
    first, *later = found.chosen.blocks
    assert first.choices[ROUND_TRIP].thresholds == ALWAYS_HOLD and not first.choices[ROUND_TRIP].results
    assert first.temperature == NO_TEMPERATURE
    assert all(block.choices[ROUND_TRIP].results for block in later)
    buy, _ = found.chosen.thresholds(ROUND_TRIP)
    assert (buy[: found.plan.folds[0].test_end] == 1.0).all()


def test_the_last_block_is_predicted_for_the_chosen_setting_and_the_baseline_alone(found: Study) -> None:
    last = np.s_[:, found.plan.final.test_begin :]
    assert all(np.isnan(run.edge[last]).all() for run in found.tried)
    assert np.isfinite(found.chosen.edge[last]).any() and np.isfinite(found.logistic.edge[last]).any()
    before = np.s_[:, : found.plan.final.test_begin]
    same = next(run for run in found.tried if run.candidate == found.chosen.candidate)
    assert np.array_equal(same.edge[before], found.chosen.edge[before], equal_nan=True)


def test_what_ships_is_served_as_it_was_judged(found: Study, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    model = replace(found.model, evidence={"verdict": "as found"})
    pin = write_model(tmp_path, model, datetime(2025, 1, 1, tzinfo=UTC), "abc", None)
    loaded = load_model(tmp_path, Trust(None, pin), HOUR)
    assert loaded.probabilities(model.self_test_rows) == pytest.approx(model.self_test_probabilities, abs=1e-12)
    manifest = parse((tmp_path / MANIFEST_NAME).read_bytes())
    assert manifest.document["train"]["settings_tried"] == len(FEW) * len(RULES)
    assert manifest.document["metrics"]["walk_forward"] == {"verdict": "as found"}
    assert manifest.thresholds == model.choice.thresholds
    assert manifest.train_to == (FIRST_BAR + BARS) * HOUR


def test_trials_are_counted_and_bounded() -> None:
    assert len(CANDIDATES) * len(RULES) <= MOST_TRIALS
    many = tuple(replace(FEW[0], name=f"trees-{number}") for number in range(MOST_TRIALS)) + FEW[1:]
    with pytest.raises(ValueError, match="trials"):
        StudySettings(candidates=many)
    with pytest.raises(ValueError, match="logistic"):
        StudySettings(candidates=FEW[:1])


@pytest.mark.parametrize("jobs", [1, 2])
def test_too_few_candles_are_refused_in_the_same_words_in_this_process_and_in_others(jobs: int) -> None:
    with pytest.raises(TrainingRefused, match="TOO_FEW_ROWS"):
        study(synthetic(2, 300), SETTINGS, Workers(jobs), quiet)
    with pytest.raises(TrainingRefused, match="TOO_FEW_ROWS: a fit needs") as caught:
        study(synthetic(2, 600), SETTINGS, Workers(jobs), quiet)
    assert caught.value.reason == "TOO_FEW_ROWS"


def test_a_backend_that_is_not_installed_is_named() -> None:
    require_backend("loky")
    with pytest.raises(ValueError, match="celery"):
        require_backend("celery")
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(BackendMissing, match="package ray"):
            list(Workers(2, "ray").run(abs, [1]))


def judged(rows: int, sharpness: float, seed: int) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Honest probabilities made too sure by `sharpness`, with outcomes drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet((2.0, 2.0, 2.0), rows)
    outcomes = np.asarray([rng.choice(3, p=each) for each in honest])
    sure = honest**sharpness
    return sure / sure.sum(axis=1, keepdims=True), np.full(3, 1 / 3), outcomes


def test_a_temperature_is_found_where_it_helps_and_left_out_where_it_does_not() -> None:
    over = [judged(1_500, 2.0, seed) for seed in range(3)]
    found = proven_temperature(over)
    assert found == pytest.approx(2.0, abs=0.3)
    raw, shares, outcomes = judged(1_500, 2.0, 9)
    assert log_loss(corrected(raw, shares, found), outcomes) < log_loss(corrected(raw, shares, 1.0), outcomes)
    turned = [*over[:2], judged(1_500, 1.0, 4)]  # the newest block was not too sure
    assert proven_temperature(turned) == NO_TEMPERATURE
    assert proven_temperature(over[:1]) == NO_TEMPERATURE
    assert proven_temperature([judged(200, 2.0, seed) for seed in range(3)]) == NO_TEMPERATURE


def test_a_temperature_inside_the_trees_is_the_same_as_one_behind_them(found: Study) -> None:
    estimator, probe = found.model.estimator, found.model.self_test_rows
    before = estimator.predict_proba(probe)
    scaled = with_temperature(estimator, 1.7)
    expected = corrected(before, found.model.shares, 1.7)
    assert corrected(scaled.predict_proba(probe), found.model.shares, 1.0) == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(estimator.predict_proba(probe), before)
