"""The decision of one bar for all products, from feature rows to signals: one prediction call for each model.

Pure: a function of rows, models, cost and profile. The row of a product does not depend on which other products are
there, but for the market factor. The challenger sees the same rows; what it says is kept and never traded.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.decision import EXERCISE_THRESHOLDS, Decisions, RowsAsked, SignalReason, decide
from modelkit.labels import barrier_sigma
from modelkit.loading import LoadedModel
from modelkit.serving import FeatureRows
from tradekit.states import Profile

DEFAULT_HORIZON_BARS = 24
_CLASSES = 3


@dataclass(frozen=True, slots=True)
class BarTerms:
    """What a bar is decided with. `blocker` is why nothing may be traded, if anything: no model, or one suspended."""

    products: Collection[str]
    model: LoadedModel | None
    challenger: LoadedModel | None
    blocker: SignalReason | None
    round_trip_cost: float
    profile: Profile


@dataclass(frozen=True, slots=True)
class BarDecisions:
    """Decisions of the products that have a candle at the bar, in the order of `products`.

    `features` (n, 51) count where `ready`; `sigma` is over the label horizon, 0 where unknown. `shadow` are the
    challenger's, NaN probabilities where it was not asked. `faults` names models that raised instead of answering.
    """

    products: tuple[str, ...]
    decisions: Decisions
    shadow: Decisions | None
    sigma: FloatArray
    features: FloatArray
    ready: BoolArray
    faults: tuple[str, ...]


def decide_bar(rows: FeatureRows, terms: BarTerms) -> BarDecisions:
    """Decisions of `terms.products` at the bar of `rows`; a product without that bar's candle has none."""
    here = [
        index
        for index, (product, age) in enumerate(zip(rows.products, rows.bars_since_candle.tolist(), strict=True))
        if age == 0 and product in terms.products
    ]
    kept = np.asarray(here, dtype=np.int64)
    faults: list[str] = []
    sigma = _sigma(rows, terms.model)[kept]
    decisions = _decide(rows, kept, terms.model, sigma, terms, terms.blocker, faults)
    shadow = None
    if terms.challenger is not None:
        theirs = _sigma(rows, terms.challenger)[kept]
        shadow = _decide(rows, kept, terms.challenger, theirs, terms, None, faults)
    return BarDecisions(
        products=tuple(rows.products[index] for index in here),
        decisions=decisions,
        shadow=shadow,
        sigma=np.where(np.isfinite(sigma), sigma, 0.0),
        features=rows.values[kept],
        ready=rows.ready[kept],
        faults=tuple(faults),
    )


def _decide(
    rows: FeatureRows,
    kept: IntArray,
    model: LoadedModel | None,
    sigma: FloatArray,
    terms: BarTerms,
    blocker: SignalReason | None,
    faults: list[str],
) -> Decisions:
    given = RowsAsked(
        probabilities=_predict(model, rows, faults)[kept],
        asked=rows.ready[kept] if model else np.zeros(len(kept), dtype=np.bool_),
        barrier=(model.manifest.label.barrier_width if model else 0.0) * sigma,
        blockers=_blockers(rows, kept, blocker),
    )
    limits = model.manifest.thresholds if model else EXERCISE_THRESHOLDS
    return decide(given, terms.round_trip_cost, limits, terms.profile)


def _blockers(rows: FeatureRows, kept: IntArray, blocker: SignalReason | None) -> Sequence[tuple[SignalReason, ...]]:
    of_all = () if blocker is None else (blocker,)
    return [
        tuple(SignalReason(reason.value) for reason in rows.reasons[index]) + of_all if rows.reasons[index] else of_all
        for index in kept.tolist()
    ]


def _sigma(rows: FeatureRows, model: LoadedModel | None) -> FloatArray:
    horizon = model.manifest.label.horizon_bars if model else DEFAULT_HORIZON_BARS
    return barrier_sigma(rows.sd_24, rows.sd_168, horizon)


def _predict(model: LoadedModel | None, rows: FeatureRows, faults: list[str]) -> FloatArray:
    """Probabilities (P, 3) of the ready rows, NaN elsewhere.

    A model is foreign code: one that raises, or answers in another shape, has given no probabilities.
    """
    found = np.full((len(rows.products), _CLASSES), np.nan)
    if model is None or not rows.ready.any():
        return found
    wanted = (int(np.count_nonzero(rows.ready)), _CLASSES)
    try:
        answer = np.asarray(model.probabilities(rows.values[rows.ready]), dtype=np.float64)
        if answer.shape != wanted:
            # One that numpy would stretch to fit must not become everybody's answer.
            raise ValueError(f"answered in shape {answer.shape} instead of {wanted}")
        found[rows.ready] = answer
    except Exception as error:
        faults.append(f"{model.manifest.model_version}: {type(error).__name__}: {error}")
    return found
