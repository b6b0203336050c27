"""One small model for all tests that need one."""

from __future__ import annotations

import pytest

from svc_signal.labels import LabelRule
from svc_signal.training import EstimatorSettings, TrainedModel, TrainingSettings, train
from tests.signal.signal_series import synthetic

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
