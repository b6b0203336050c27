"""Training: the same input gives the same model, later bars never teach, and refusals name what cannot be learned."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from modelkit.candles import FloatArray, IntArray
from modelkit.labels import LabelRule
from modelkit.sampling import correct_for_prior
from tests.signal.conftest import SMALL
from tests.signal.signal_series import FIRST_BAR, HOUR, synthetic
from training import fit as training
from training.artifact import model_version
from training.fit import TrainedModel, TrainingRefused, train
from training.settings import TrainingSettings, least_bars


def quiet(step: str, share: float) -> None:
    assert step and 0.0 <= share <= 1.0


def test_equal_candles_and_settings_give_equal_predictions(
    small_model: TrainedModel, small_settings: TrainingSettings
) -> None:
    again = train(dict(reversed(synthetic(3, 1500).items())), small_settings, quiet)
    assert again.predictions_sha256 == small_model.predictions_sha256
    assert model_version(again) == model_version(small_model)
    assert again.choice == small_model.choice and again.folds == small_model.folds
    other = train(synthetic(3, 1500), replace(small_settings, seed=52), quiet)
    assert other.predictions_sha256 != small_model.predictions_sha256


def test_report_says_what_was_learned_from(small_model: TrainedModel) -> None:
    assert small_model.train_from == FIRST_BAR * HOUR
    assert small_model.train_to == (FIRST_BAR + 1500) * HOUR
    assert small_model.products == ("BTC-USD", "C01-USD", "C02-USD")
    assert small_model.shares.sum() == pytest.approx(1.0)
    assert small_model.reference_bins.shape == (51, 9)
    assert (np.diff(small_model.reference_bins) >= 0).all()
    assert small_model.self_test_rows.shape == (16, 51)
    begins = [fold.begin for fold in small_model.folds]
    assert begins == sorted(begins) and len(begins) == 2
    assert all(fold.rows > 0 and fold.log_loss > 0 for fold in small_model.folds)
    assert f"{datetime.fromtimestamp(small_model.train_to, UTC):%Y%m%d}" in model_version(small_model)


def test_probabilities_are_near_the_class_shares_on_a_random_walk(small_model: TrainedModel) -> None:
    mean = correct_for_prior(small_model.estimator.predict_proba(small_model.self_test_rows), small_model.shares).mean(
        axis=0
    )
    assert mean == pytest.approx(small_model.shares, abs=0.15)


def test_a_held_out_block_does_not_teach_its_own_fold(small_settings: TrainingSettings) -> None:
    one_fold = replace(small_settings, folds=1, held_out_share=0.3)
    candles = synthetic(3, 1500)
    before = train(candles, one_fold, quiet).folds[0]
    cut = (FIRST_BAR + 1050) * HOUR
    assert before.begin == cut
    rng = np.random.default_rng(9)
    changed = {
        name: replace(rows, volume=np.where(rows.start >= cut, rng.permutation(rows.volume), rows.volume))
        for name, rows in candles.items()
    }
    after = train(changed, one_fold, quiet).folds[0]
    # Labels and what was learned are equal, so the prior's loss is too; the answers on changed rows are not.
    assert after.train_rows == before.train_rows
    assert after.prior_log_loss == before.prior_log_loss
    assert after.log_loss != before.log_loss


def test_a_future_that_is_leaked_would_be_seen(small_settings: TrainingSettings) -> None:
    """Volume that tells the coming move lifts the measured AUC: the harness can see a leak."""
    honest = synthetic(3, 2500, seed=21)
    leaking = {}
    for name, rows in honest.items():
        coming = np.log(np.roll(rows.close, -12) / rows.close)
        leaking[name] = replace(rows, volume=rows.volume * np.exp(np.clip(60.0 * coming, -3, 3)))
    settings = replace(small_settings, folds=1)
    auc = [train(candles, settings, quiet).folds[0].auc_up_down for candles in (honest, leaking)]
    assert auc[0] is not None and auc[1] is not None
    assert abs(auc[0] - 0.5) < 0.1
    assert auc[1] > 0.7


@pytest.mark.parametrize(
    ("bars", "settings", "reason"),
    [
        (0, TrainingSettings(), "NO_CANDLES"),
        (700, TrainingSettings(), "TOO_FEW_ROWS"),
        (1500, TrainingSettings(), "TOO_FEW_ROWS"),  # the trees could not split once
        (1500, replace(SMALL, label=LabelRule(fee_ratio=0.9)), "TOO_FEW_ROWS"),  # nothing pays: no UP
    ],
)
def test_what_cannot_be_learned_is_refused(bars: int, settings: TrainingSettings, reason: str) -> None:
    candles = {name: rows.take(np.arange(bars)) for name, rows in synthetic(2, 1500).items()}
    with pytest.raises(TrainingRefused) as caught:
        train(candles, settings, quiet)
    assert caught.value.reason == reason
    crossed = pickle.loads(pickle.dumps(caught.value))  # as it does where a worker process refuses
    assert (crossed.reason, crossed.detail, str(crossed)) == (reason, caught.value.detail, str(caught.value))
    assert str(crossed) == f"{reason}: {crossed.detail}"


def test_too_short_a_history_is_known_before_anything_is_trained() -> None:
    settings = TrainingSettings()
    assert [least_bars(products, settings) for products in (1, 3, 6)] == [7944, 3099, 1890]
    small = replace(settings, estimator=replace(settings.estimator, rows_per_leaf=60), rows_per_class=1)
    for bars, enough in ((least_bars(2, small) - 20, False), (least_bars(2, small) + 20, True)):
        candles = {name: rows.take(np.arange(bars)) for name, rows in synthetic(2, 1500).items()}
        if enough:
            assert train(candles, small, quiet).rows
        else:
            with pytest.raises(TrainingRefused, match="TOO_FEW_ROWS"):
                train(candles, small, quiet)


def test_what_a_fold_learns_is_blind_to_everything_after_its_cut(
    small_settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[tuple[bytes, bytes]] = []
    fit = training._fit

    def recording(rows: FloatArray, labels: IntArray, settings: TrainingSettings) -> Any:
        learned.append((rows.tobytes(), labels.tobytes()))
        return fit(rows, labels, settings)

    monkeypatch.setattr(training, "_fit", recording)
    one_fold = replace(small_settings, folds=1, held_out_share=0.3)
    candles = synthetic(3, 1500)
    cut = (FIRST_BAR + 1050) * HOUR
    crashed = {}
    for name, rows in candles.items():
        columns = {key: getattr(rows, key).copy() for key in ("open", "high", "low", "close")}
        for column in columns.values():
            column[rows.start >= cut] *= 0.5
        crashed[name] = replace(rows, **columns)
    train(candles, one_fold, quiet)
    train(crashed, one_fold, quiet)
    first, final, first_crashed, final_crashed = learned
    assert first == first_crashed
    assert final != final_crashed
