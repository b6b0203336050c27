"""From class probabilities to BUY, SELL or HOLD, with the reasons, for all rows of a bar at once.

`EVIDENCE` trades only where the model's own thresholds and the cost are passed; `EXERCISE` uses fixed low
thresholds so that the whole pipeline is exercised, and marks every decision. A side is never decided from
missing or impossible input: that is a HOLD which says why. No row's decision depends on another row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from tradekit.states import Profile, SignalSide


class SignalReason(StrEnum):
    """Why a decision came out as it did; the first seven always mean HOLD."""

    NOT_READY = "NOT_READY"
    SPARSE = "SPARSE"
    NO_FACTOR = "NO_FACTOR"
    NO_MODEL = "NO_MODEL"
    MODEL_REFUSED = "MODEL_REFUSED"
    MODEL_SUSPENDED = "MODEL_SUSPENDED"
    MODEL_OUTPUT_INVALID = "MODEL_OUTPUT_INVALID"
    BELOW_THRESHOLD = "BELOW_THRESHOLD"
    NEGATIVE_EXPECTED_NET = "NEGATIVE_EXPECTED_NET"
    UP_EDGE = "UP_EDGE"
    DOWN_EDGE = "DOWN_EDGE"
    EXERCISE = "EXERCISE"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least edge for a BUY and, as a positive number, for a SELL; 1 is out of reach."""

    theta_buy: float
    theta_sell: float


EXERCISE_THRESHOLDS: Final = Thresholds(theta_buy=0.12, theta_sell=0.27)
"""Each side about a tenth of real hourly bars; selling needs more, as the cost rule turns rises into
NEUTRAL."""

_SUM_TOLERANCE: Final = 1e-6
# What a row's numbers say, before anything that blocks it; the position is the code of `_outcomes`.
_OUTCOMES: Final = (
    (SignalSide.HOLD, SignalReason.NO_MODEL),
    (SignalSide.HOLD, SignalReason.MODEL_OUTPUT_INVALID),
    (SignalSide.SELL, SignalReason.DOWN_EDGE),
    (SignalSide.HOLD, SignalReason.BELOW_THRESHOLD),
    (SignalSide.HOLD, SignalReason.NEGATIVE_EXPECTED_NET),
    (SignalSide.BUY, SignalReason.UP_EDGE),
)
_UNASKED, _INVALID, _SELL, _WEAK, _DEAR, _BUY = range(len(_OUTCOMES))


@dataclass(frozen=True, slots=True)
class RowsAsked:
    """Rows to decide. `probabilities` (n, 3) are DOWN, NEUTRAL, UP and count where the model was `asked`;
    `barrier` is K * sigma as a log return; any blocker (not ready, no model, suspended) means HOLD."""

    probabilities: FloatArray
    asked: BoolArray
    barrier: FloatArray
    blockers: Sequence[tuple[SignalReason, ...]]


@dataclass(frozen=True, slots=True)
class Decisions:
    """One entry per row. `edge` is p_up - p_down, `expected_net` a log return after the round-trip cost.

    `probabilities`, `edge` and `expected_net` are NaN where there were none. `confidence` is p_up for BUY,
    p_down for SELL, 1 - |edge| for HOLD, and 0 without probabilities.
    """

    side: tuple[SignalSide, ...]
    confidence: FloatArray
    probabilities: FloatArray
    edge: FloatArray
    expected_net: FloatArray
    reasons: tuple[tuple[SignalReason, ...], ...]


def decide(rows: RowsAsked, round_trip_cost: float, thresholds: Thresholds, profile: Profile) -> Decisions:
    """The decision of every row; `thresholds` are those of the model's manifest, used by EVIDENCE only."""
    down, up = rows.probabilities[:, 0], rows.probabilities[:, 2]
    usable = rows.asked & _are_probabilities(rows.probabilities) & np.isfinite(rows.barrier)
    with np.errstate(invalid="ignore"):
        edge = up - down
        net = edge * rows.barrier - round_trip_cost
        outcome = _outcomes(rows.asked, usable, edge, net, thresholds, profile)
        calm = 1.0 - np.abs(edge)
    blocked = np.fromiter((bool(found) for found in rows.blockers), np.bool_, len(rows.blockers))
    bought, sold = (outcome == _BUY) & ~blocked, (outcome == _SELL) & ~blocked
    return Decisions(
        side=tuple(_side(code, stop) for code, stop in zip(outcome.tolist(), blocked.tolist(), strict=True)),
        confidence=np.where(usable, np.where(bought, up, np.where(sold, down, calm)), 0.0),
        probabilities=np.where(usable[:, None], rows.probabilities, np.nan),
        edge=np.where(usable, edge, np.nan),
        expected_net=np.where(usable, net, np.nan),
        reasons=_reasons(outcome, rows.blockers, profile),
    )


def _are_probabilities(values: FloatArray) -> BoolArray:
    """Rows of finite shares between 0 and 1 that add up to 1."""
    with np.errstate(invalid="ignore"):
        inside = ((values >= 0.0) & (values <= 1.0)).all(axis=1)
        total = values[:, 0] + values[:, 1] + values[:, 2]
        return np.asarray(inside & (np.abs(total - 1.0) <= _SUM_TOLERANCE))


def _outcomes(
    asked: BoolArray, usable: BoolArray, edge: FloatArray, net: FloatArray, thresholds: Thresholds, profile: Profile
) -> IntArray:
    """Per row the first that applies, as a position in `_OUTCOMES`. Only a BUY of EVIDENCE must earn its cost."""
    limits = EXERCISE_THRESHOLDS if profile is Profile.EXERCISE else thresholds
    sell = edge <= -limits.theta_sell
    weak = (edge < limits.theta_buy) | (edge <= 0.0)
    dear = (net <= 0.0) if profile is Profile.EVIDENCE else np.zeros_like(sell)
    found = np.where(weak, _WEAK, np.where(dear, _DEAR, _BUY))
    return np.where(asked, np.where(usable, np.where(sell, _SELL, found), _INVALID), _UNASKED)


def _side(outcome: int, blocked: bool) -> SignalSide:
    return SignalSide.HOLD if blocked else _OUTCOMES[outcome][0]


def _reasons(
    outcome: IntArray, blockers: Sequence[tuple[SignalReason, ...]], profile: Profile
) -> tuple[tuple[SignalReason, ...], ...]:
    """What blocks a row says more than what its numbers say; impossible numbers stand beside it."""
    mark = (SignalReason.EXERCISE,) if profile is Profile.EXERCISE else ()
    found = []
    for code, stops in zip(outcome.tolist(), blockers, strict=True):
        own: tuple[SignalReason, ...] = (_OUTCOMES[code][1],)
        if code == _INVALID:
            own = (*stops, *own)
        elif stops:
            own = stops
        found.append(own + mark)
    return tuple(found)
