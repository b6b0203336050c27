"""BUY, SELL or HOLD from probabilities, and the threshold that evidence allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit.decision import (
    EXERCISE_THRESHOLDS,
    Decisions,
    RowsAsked,
    SignalReason,
    Thresholds,
    decide,
)
from tests.signal.market_doubles import market_of_gains, without_exits
from tradekit.states import Profile, SignalSide
from training.evidence import ALWAYS_HOLD, THETA_GRID, HeldOut, choose_thresholds
from training.exits import Exit

LIMITS = Thresholds(0.25, 0.10)
COST = 0.019


@dataclass(frozen=True)
class Said:
    """The decision of one row, as plain values; None where there was none."""

    side: SignalSide
    confidence: float
    p_up: float | None
    edge: float | None
    expected_net: float | None
    reasons: tuple[SignalReason, ...]


def said(decisions: Decisions, row: int = 0) -> Said:
    numbers = (decisions.probabilities[row, 2], decisions.edge[row], decisions.expected_net[row])
    p_up, edge, net = (None if np.isnan(number) else float(number) for number in numbers)
    return Said(decisions.side[row], float(decisions.confidence[row]), p_up, edge, net, decisions.reasons[row])


def one(
    row: tuple[float, float, float] | None,
    barrier: float,
    cost: float,
    limits: Thresholds,
    profile: Profile,
    blockers: tuple[SignalReason, ...] = (),
) -> Said:
    given = np.asarray([row or (np.nan,) * 3], dtype=np.float64)
    asked = RowsAsked(given, np.asarray([row is not None]), np.asarray([barrier]), [blockers])
    return said(decide(asked, cost, limits, profile))


def evidence(down: float, up: float, barrier: float = 0.10) -> Said:
    return one((down, 1 - down - up, up), barrier, COST, LIMITS, Profile.EVIDENCE)


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
        found = one((down, 1 - down - up, up), 0.01, COST, never, Profile.EXERCISE)
        assert found.side is side
        assert found.reasons[-1] is SignalReason.EXERCISE
    blocked = one(None, 0.01, COST, never, Profile.EXERCISE, (SignalReason.SPARSE,))
    assert blocked.reasons == (SignalReason.SPARSE, SignalReason.EXERCISE)
    assert EXERCISE_THRESHOLDS.theta_buy < 0.25


@pytest.mark.parametrize("reason", [SignalReason.MODEL_SUSPENDED, SignalReason.NOT_READY, SignalReason.NO_FACTOR])
def test_a_blocker_means_hold_whatever_the_edge(reason: SignalReason) -> None:
    for down, up in ((0.0, 1.0), (1.0, 0.0)):
        found = one((down, 0.0, up), 0.1, COST, LIMITS, Profile.EVIDENCE, (reason,))
        assert (found.side, found.reasons) == (SignalSide.HOLD, (reason,))


def test_without_probabilities_nothing_is_invented() -> None:
    found = one(None, 0.1, COST, LIMITS, Profile.EVIDENCE)
    assert (found.side, found.confidence, found.p_up, found.edge) == (SignalSide.HOLD, 0.0, None, None)
    assert found.reasons == (SignalReason.NO_MODEL,)


@pytest.mark.parametrize("broken", [(np.nan, 0.5, 0.5), (0.5, 0.5, 0.5), (-0.1, 0.1, 1.0), (np.inf, 0.0, 0.0)])
def test_impossible_probabilities_mean_hold(broken: tuple[float, float, float]) -> None:
    found = one(broken, 0.1, COST, LIMITS, Profile.EXERCISE)
    assert (found.side, found.p_up) == (SignalSide.HOLD, None)
    assert SignalReason.MODEL_OUTPUT_INVALID in found.reasons


def by_the_book(
    row: tuple[float, float, float] | None,
    barrier: float,
    limits: Thresholds,
    profile: Profile,
    blockers: tuple[SignalReason, ...],
) -> Said:
    """The rule of one row in plain words, apart from the one that serves."""
    mark = (SignalReason.EXERCISE,) if profile is Profile.EXERCISE else ()
    if row is None:
        return Said(SignalSide.HOLD, 0.0, None, None, None, (blockers or (SignalReason.NO_MODEL,)) + mark)
    good = all(math.isfinite(p) and 0.0 <= p <= 1.0 for p in row) and abs(sum(row) - 1.0) <= 1e-6
    if not (good and math.isfinite(barrier)):
        reasons = (*blockers, SignalReason.MODEL_OUTPUT_INVALID, *mark)
        return Said(SignalSide.HOLD, 0.0, None, None, None, reasons)
    theta = EXERCISE_THRESHOLDS if profile is Profile.EXERCISE else limits
    edge = row[2] - row[0]
    net = edge * barrier - COST
    side, reason = SignalSide.BUY, SignalReason.UP_EDGE
    if edge <= -theta.theta_sell:
        side, reason = SignalSide.SELL, SignalReason.DOWN_EDGE
    elif edge < theta.theta_buy or edge <= 0.0:
        side, reason = SignalSide.HOLD, SignalReason.BELOW_THRESHOLD
    elif profile is Profile.EVIDENCE and net <= 0.0:
        side, reason = SignalSide.HOLD, SignalReason.NEGATIVE_EXPECTED_NET
    if blockers:
        side = SignalSide.HOLD
    confidence = {SignalSide.BUY: row[2], SignalSide.SELL: row[0]}.get(side, 1.0 - abs(edge))
    return Said(side, confidence, row[2], edge, net, (blockers or (reason,)) + mark)


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda ab: (ab[0] * (1 - ab[1]), ab[1]))
GOOD_ROWS = SHARES.map(lambda du: (du[0], max(0.0, 1.0 - du[0] - du[1]), du[1]))
ANY_ROWS = st.tuples(*[st.floats(width=64)] * 3)
BLOCKERS = st.lists(st.sampled_from([SignalReason.NOT_READY, SignalReason.MODEL_SUSPENDED]), unique=True).map(tuple)
ROWS = st.tuples(st.none() | GOOD_ROWS | ANY_ROWS, st.floats(1e-4, 0.5) | st.just(math.nan), BLOCKERS)


@given(st.lists(ROWS, max_size=8), st.sampled_from([LIMITS, Thresholds(1.0, 1.0), Thresholds(0.0, 0.0)]), st.data())
def test_all_rows_at_once_decide_as_each_alone(
    rows: list[tuple[tuple[float, float, float] | None, float, tuple[SignalReason, ...]]],
    limits: Thresholds,
    data: st.DataObject,
) -> None:
    profile = data.draw(st.sampled_from(Profile))
    given = RowsAsked(
        np.asarray([row or (np.nan,) * 3 for row, _, _ in rows], dtype=np.float64).reshape(-1, 3),
        np.asarray([row is not None for row, _, _ in rows], dtype=np.bool_),
        np.asarray([barrier for _, barrier, _ in rows], dtype=np.float64),
        [blockers for _, _, blockers in rows],
    )
    found = decide(given, COST, limits, profile)
    assert [said(found, n) for n in range(len(rows))] == [
        by_the_book(row, barrier, limits, profile, blockers) for row, barrier, blockers in rows
    ]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-4, 0.5), st.floats(0, 0.05))
def test_evidence_buys_only_with_a_positive_expected_net(a: float, b: float, barrier: float, cost: float) -> None:
    down, up = a * (1 - b), b
    found = one((down, max(0.0, 1 - down - up), up), barrier, cost, LIMITS, Profile.EVIDENCE)
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
    return HeldOut(edge, np.full(returns.shape, 0.05), market_of_gains(np.expm1(returns)), without_exits(edge.shape))


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
        found = one((down, 0.01, up), 0.5, 0.0, choice.thresholds, Profile.EVIDENCE)
        assert found.side is SignalSide.HOLD


def test_costs_are_charged_on_both_sides() -> None:
    edge = np.asarray([[0.0, 0.9, 0.9, -0.9, 0.0, 0.0]])
    market = market_of_gains(np.expm1(np.asarray([[0.5, 0.1, 0.2, 0.7, 0.7, 0.7]])))
    held_out = HeldOut(edge, np.full(edge.shape, 0.5), market, without_exits(edge.shape))
    choice = choose_thresholds(held_out, 0.02, seed=1)
    assert choice.results[0].net_return == pytest.approx(0.1 + 0.2 - 0.02)
    assert choice.results[0].trades == 2


def test_thresholds_are_judged_with_the_exits_that_live_trading_has() -> None:
    """What a SELL would have made is nothing to a position that its stop has ended before."""
    found = held_out(skill=1.0)
    stopped = replace(
        found.entries,
        life=np.ones_like(found.entries.life),
        reason=np.full_like(found.entries.reason, int(Exit.STOP)),
        sold_to_open=np.full(found.edge.shape, 0.99),
    )
    assert choose_thresholds(found, 0.001, seed=1).has_evidence
    assert not choose_thresholds(replace(found, entries=stopped), 0.001, seed=1).has_evidence
