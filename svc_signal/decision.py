"""From class probabilities to BUY, SELL or HOLD, with the reasons.

`evidence` trades only where the model's own thresholds and the cost are passed; `exercise` uses fixed low
thresholds so that the whole pipeline is exercised, and marks every decision. The side is never decided from
missing or impossible input: that is a HOLD which says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Final

from tradekit.states import SignalSide


class Profile(StrEnum):
    """Which thresholds apply."""

    EVIDENCE = "evidence"
    EXERCISE = "exercise"


class SignalReason(StrEnum):
    """Why a decision came out as it did; the first eight always mean HOLD."""

    NOT_READY = "NOT_READY"
    SPARSE = "SPARSE"
    NO_FACTOR = "NO_FACTOR"
    NO_MODEL = "NO_MODEL"
    MODEL_REFUSED = "MODEL_REFUSED"
    MODEL_SUSPENDED = "MODEL_SUSPENDED"
    MODEL_OUTPUT_INVALID = "MODEL_OUTPUT_INVALID"
    STALE_CANDLE = "STALE_CANDLE"
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


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Calibrated class probabilities of one row."""

    down: float
    neutral: float
    up: float

    @property
    def edge(self) -> float:
        return self.up - self.down

    def valid(self) -> bool:
        values = (self.down, self.neutral, self.up)
        return all(isfinite(p) and 0.0 <= p <= 1.0 for p in values) and abs(sum(values) - 1.0) <= 1e-6


@dataclass(frozen=True, slots=True)
class SignalDecision:
    """`edge` is p_up - p_down, `expected_net` a log return after the round-trip cost.

    Probabilities, edge and expected net are None where there were none. `confidence` is p_up for BUY, p_down
    for SELL, 1 - |edge| for HOLD, and 0 without probabilities.
    """

    side: SignalSide
    confidence: float
    p_down: float | None
    p_neutral: float | None
    p_up: float | None
    edge: float | None
    expected_net: float | None
    reasons: tuple[SignalReason, ...]
    profile: Profile


def decide(
    probabilities: Probabilities | None,
    barrier: float,
    round_trip_cost: float,
    thresholds: Thresholds,
    profile: Profile,
    blockers: Sequence[SignalReason] = (),
) -> SignalDecision:
    """The decision for one row.

    `barrier` is K * sigma as a log return, `thresholds` those of the model's manifest (used by `evidence`
    only); any blocker (not ready, no model, stale candle) means HOLD, and so do probabilities that are not
    such.
    """
    mark = (SignalReason.EXERCISE,) if profile is Profile.EXERCISE else ()
    if probabilities is None:
        reasons = tuple(blockers) or (SignalReason.NO_MODEL,)
        return SignalDecision(SignalSide.HOLD, 0.0, None, None, None, None, None, reasons + mark, profile)
    if not (probabilities.valid() and isfinite(barrier)):
        reasons = (*blockers, SignalReason.MODEL_OUTPUT_INVALID)
        return SignalDecision(SignalSide.HOLD, 0.0, None, None, None, None, None, reasons + mark, profile)
    expected_net = probabilities.edge * barrier - round_trip_cost
    side, reason = _side(probabilities, expected_net, thresholds, profile)
    if blockers:
        side = SignalSide.HOLD
    return SignalDecision(
        side=side,
        confidence=_confidence(side, probabilities),
        p_down=probabilities.down,
        p_neutral=probabilities.neutral,
        p_up=probabilities.up,
        edge=probabilities.edge,
        expected_net=expected_net,
        reasons=(tuple(blockers) or (reason,)) + mark,
        profile=profile,
    )


def _side(
    probabilities: Probabilities, expected_net: float, thresholds: Thresholds, profile: Profile
) -> tuple[SignalSide, SignalReason]:
    limits = EXERCISE_THRESHOLDS if profile is Profile.EXERCISE else thresholds
    if probabilities.edge <= -limits.theta_sell:
        return SignalSide.SELL, SignalReason.DOWN_EDGE
    if probabilities.edge < limits.theta_buy or probabilities.edge <= 0.0:
        return SignalSide.HOLD, SignalReason.BELOW_THRESHOLD
    if profile is Profile.EVIDENCE and expected_net <= 0.0:
        return SignalSide.HOLD, SignalReason.NEGATIVE_EXPECTED_NET
    return SignalSide.BUY, SignalReason.UP_EDGE


def _confidence(side: SignalSide, probabilities: Probabilities) -> float:
    if side is SignalSide.BUY:
        return probabilities.up
    return probabilities.down if side is SignalSide.SELL else 1.0 - abs(probabilities.edge)
