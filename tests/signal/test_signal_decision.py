"""BUY, SELL or HOLD from probabilities, and the threshold that evidence allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_signal.decision import (
    EXERCISE_THRESHOLDS,
    Probabilities,
    Profile,
    SignalDecision,
    SignalReason,
    SignalSide,
    Thresholds,
    decide,
)
from svc_signal.evidence import ALWAYS_HOLD, THETA_GRID, HeldOut, choose_thresholds

LIMITS = Thresholds(0.25, 0.10)
COST = 0.019


def evidence(down: float, up: float, barrier: float = 0.10) -> SignalDecision:
    return decide(Probabilities(down, 1 - down - up, up), barrier, COST, LIMITS, Profile.EVIDENCE)


def test_buy_needs_edge_and_expected_net() -> None:
    bought = evidence(0.1, 0.5)
    assert (bought.side, bought.reasons) == (SignalSide.BUY, (SignalReason.UP_EDGE,))
    assert bought.confidence == 0.5
    assert bought.edge == pytest.approx(0.4)
    assert bought.expected_net == pytest.approx(0.4 * 0.10 - COST)
    weak = evidence(0.2, 0.4)
    assert (weak.side, weak.reasons) == (SignalSide.HOLD, (SignalReason.BELOW_THRESHOLD,))
    assert weak.confidence == pytest.approx(0.8)
    dear = evidence(0.1, 0.5, barrier=0.04)
    assert (dear.side, dear.reasons) == (SignalSide.HOLD, (SignalReason.NEGATIVE_EXPECTED_NET,))


def test_sell_does_not_ask_for_profit() -> None:
    sold = evidence(0.45, 0.2)
    assert (sold.side, sold.confidence) == (SignalSide.SELL, 0.45)
    assert sold.reasons == (SignalReason.DOWN_EDGE,)


def test_exercise_uses_its_own_thresholds_and_marks_every_decision() -> None:
    never = Thresholds(1.0, 1.0)
    for down, up, side in ((0.2, 0.35, SignalSide.BUY), (0.6, 0.2, SignalSide.SELL), (0.3, 0.35, SignalSide.HOLD)):
        found = decide(Probabilities(down, 1 - down - up, up), 0.01, COST, never, Profile.EXERCISE)
        assert (found.side, found.profile) == (side, Profile.EXERCISE)
        assert found.reasons[-1] is SignalReason.EXERCISE
    blocked = decide(None, 0.01, COST, never, Profile.EXERCISE, (SignalReason.SPARSE,))
    assert blocked.reasons == (SignalReason.SPARSE, SignalReason.EXERCISE)
    assert EXERCISE_THRESHOLDS.theta_buy < 0.25


@pytest.mark.parametrize("reason", [SignalReason.STALE_CANDLE, SignalReason.NOT_READY, SignalReason.NO_FACTOR])
def test_a_blocker_means_hold_whatever_the_edge(reason: SignalReason) -> None:
    for down, up in ((0.0, 1.0), (1.0, 0.0)):
        found = decide(Probabilities(down, 0.0, up), 0.1, COST, LIMITS, Profile.EVIDENCE, (reason,))
        assert (found.side, found.reasons) == (SignalSide.HOLD, (reason,))


def test_without_probabilities_nothing_is_invented() -> None:
    found = decide(None, 0.1, COST, LIMITS, Profile.EVIDENCE)
    assert (found.side, found.confidence, found.p_up, found.edge) == (SignalSide.HOLD, 0.0, None, None)
    assert found.reasons == (SignalReason.NO_MODEL,)


@pytest.mark.parametrize(
    "broken", [Probabilities(np.nan, 0.5, 0.5), Probabilities(0.5, 0.5, 0.5), Probabilities(-0.1, 0.1, 1.0)]
)
def test_impossible_probabilities_mean_hold(broken: Probabilities) -> None:
    found = decide(broken, 0.1, COST, LIMITS, Profile.EXERCISE)
    assert (found.side, found.p_up) == (SignalSide.HOLD, None)
    assert SignalReason.MODEL_OUTPUT_INVALID in found.reasons


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-4, 0.5), st.floats(0, 0.05))
def test_evidence_buys_only_with_a_positive_expected_net(a: float, b: float, barrier: float, cost: float) -> None:
    down, up = a * (1 - b), b
    found = decide(Probabilities(down, max(0.0, 1 - down - up), up), barrier, cost, LIMITS, Profile.EVIDENCE)
    assert 0.0 <= found.confidence <= 1.0
    if found.side is SignalSide.BUY:
        assert found.expected_net is not None and found.expected_net > 0.0
        assert up - down >= LIMITS.theta_buy
    if found.side is SignalSide.SELL:
        assert up - down <= -LIMITS.theta_sell


def held_out(skill: float, bars: int = 2000) -> HeldOut:
    """Edges that know the next return to the degree of `skill`."""
    rng = np.random.default_rng(4)
    returns = rng.normal(0.0, 0.01, (3, bars))
    edge = np.clip(skill * np.sign(returns) * 0.4 + rng.normal(0.0, 0.1, returns.shape), -1, 1)
    return HeldOut(edge, np.full(returns.shape, 0.05), returns)


def test_threshold_is_the_smallest_with_evidence() -> None:
    choice = choose_thresholds(held_out(skill=1.0), 0.001, seed=1)
    assert choice.has_evidence
    passing = [result.theta for result in choice.results if result.quantile_05 > 0]
    assert choice.thresholds.theta_buy == min(passing)


@pytest.mark.parametrize(("skill", "cost"), [(0.0, 0.004), (1.0, 0.2)])
def test_without_skill_or_with_too_high_cost_nothing_is_bought(skill: float, cost: float) -> None:
    choice = choose_thresholds(held_out(skill), cost, seed=1)
    assert not choice.has_evidence
    assert choice.thresholds == ALWAYS_HOLD
    assert len(choice.results) == len(THETA_GRID)
    for down, up in ((0.01, 0.98), (0.98, 0.01)):
        found = decide(Probabilities(down, 0.01, up), 0.5, 0.0, choice.thresholds, Profile.EVIDENCE)
        assert found.side is SignalSide.HOLD


def test_costs_are_charged_on_both_sides() -> None:
    edge = np.asarray([[0.0, 0.9, 0.9, -0.9, 0.0, 0.0]])
    gain = np.asarray([[0.5, 0.1, 0.2, 0.7, 0.7, 0.7]])
    choice = choose_thresholds(HeldOut(edge, np.full(edge.shape, 0.5), gain), 0.02, seed=1)
    assert choice.results[0].net_return == pytest.approx(0.1 + 0.2 - 0.02)
    assert choice.results[0].trades == 2
