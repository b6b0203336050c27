"""One small model for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.labels import LabelRule
from tests.signal.artifacts import KEY, WHEN
from tests.signal.signal_series import synthetic
from training.artifact import write_model
from training.fit import TrainedModel, train
from training.settings import EstimatorSettings, TrainingSettings

SMALL = TrainingSettings(
    label=LabelRule(fee_ratio=0.0005),
    estimator=EstimatorSettings(iterations=12, rows_per_leaf=30, bins=16),
    folds=2,
    rows_per_class=20,
)


@pytest.fixture(scope="session")
def small_settings() -> TrainingSettings:
    return SMALL


@pytest.fixture(scope="session")
def small_model() -> TrainedModel:
    return train(synthetic(3, 1500), SMALL, lambda step, share: None)


@pytest.fixture
def folder(tmp_path: Path, small_model: TrainedModel) -> Path:
    write_model(tmp_path / "model", small_model, WHEN, "abc123", KEY)
    return tmp_path / "model"
