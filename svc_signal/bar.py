"""The decision of one bar for all products, from candles to signals: one feature call, one prediction call.

Pure: a function of candles, model, cost and profile. The row of a product does not depend on which other products are
there, but for the market factor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from svc_signal.candles import CandleArrays, FloatArray
from svc_signal.decision import EXERCISE_THRESHOLDS, Probabilities, SignalDecision, SignalReason, decide
from svc_signal.decision import Profile as DecisionProfile
from svc_signal.labels import barrier_sigma
from svc_signal.loading import LoadedModel
from svc_signal.serving import FeatureRows, latest_rows

DEFAULT_HORIZON_BARS = 24


@dataclass(frozen=True, slots=True)
class BarDecision:
    """One product's decision: `features` is empty where its row was not ready; `sigma` is over the label horizon."""

    product_id: str
    decision: SignalDecision
    sigma: float
    features: tuple[float, ...]


def decide_bar(
    candles: Mapping[str, CandleArrays],
    products: Sequence[str],
    bar: int,
    granularity: int,
    factor_product: str,
    model: LoadedModel | None,
    blocker: SignalReason | None,
    round_trip_cost: float,
    profile: DecisionProfile,
) -> list[BarDecision]:
    """Decisions of `products` at the bar that opens at `bar * granularity`; a product without that candle has none."""
    rows = latest_rows(candles, bar, granularity, factor_product)
    horizon = model.manifest.label.horizon_bars if model else DEFAULT_HORIZON_BARS
    sigma = barrier_sigma(rows.sd_24, rows.sd_168, horizon)
    predicted = _predict(model, rows)
    found = []
    for index, product in enumerate(rows.products):
        if product not in products or rows.bars_since_candle[index] != 0:
            continue
        blockers = [SignalReason(reason.value) for reason in rows.reasons[index]]
        if model is None:
            blockers.append(blocker or SignalReason.NO_MODEL)
        decision = _decide(predicted.get(index), float(sigma[index]), model, blockers, round_trip_cost, profile)
        features = tuple(float(value) for value in rows.values[index]) if rows.ready[index] else ()
        found.append(BarDecision(product, decision, _finite(float(sigma[index])), features))
    return found


def _predict(model: LoadedModel | None, rows: FeatureRows) -> dict[int, FloatArray]:
    """Probabilities by row number, for the ready rows."""
    ready = np.flatnonzero(rows.ready)
    if model is None or not len(ready):
        return {}
    return dict(zip(ready.tolist(), model.probabilities(rows.values[ready]), strict=True))


def _decide(
    row: FloatArray | None,
    sigma: float,
    model: LoadedModel | None,
    blockers: Sequence[SignalReason],
    round_trip_cost: float,
    profile: DecisionProfile,
) -> SignalDecision:
    probabilities = None if row is None else Probabilities(float(row[0]), float(row[1]), float(row[2]))
    if model is None:
        return decide(None, 0.0, round_trip_cost, EXERCISE_THRESHOLDS, profile, blockers)
    barrier = model.manifest.label.barrier_width * sigma
    return decide(probabilities, barrier, round_trip_cost, model.manifest.thresholds, profile, blockers)


def _finite(value: float) -> float:
    return value if np.isfinite(value) else 0.0
