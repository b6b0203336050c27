"""What a training run may vary, and how long a history it takes at least: known without the libraries that train."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from modelkit.features.definition import READY_BARS
from modelkit.labels import LabelRule
from training.exits import LIVE, Way


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
    """What a training run may vary; `way` is how decisions are traded where thresholds are judged, `source_sha256` names the
    files the candles came from."""

    granularity: int = 3600
    factor_product: str = "BTC-USD"
    label: LabelRule = field(default_factory=LabelRule)
    way: Way = LIVE
    estimator: EstimatorSettings = field(default_factory=EstimatorSettings)
    stride: int = 5
    seed: int = 51
    folds: int = 3
    held_out_share: float = 0.45
    rows_per_class: int = 30
    source_sha256: tuple[str, ...] = ()


def least_bars(products: int, settings: TrainingSettings) -> int:
    """Bars of so many products below which a quick training is refused whatever they hold: the first fold would have too few
    rows to split once.
    """
    rows_each = math.ceil(2 * settings.estimator.rows_per_leaf / products)
    before_the_fold = (rows_each - 1) * settings.stride + READY_BARS + settings.label.horizon_bars
    return math.ceil(before_the_fold / (1.0 - settings.held_out_share))
