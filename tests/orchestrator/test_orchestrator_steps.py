"""What answers and errors of the stages mean: a table of every error reason at every stage for both sides."""

from decimal import Decimal
from uuid import uuid4

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import rebuild
from svc_orchestrator.steps import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    LONGEST_WAIT_SECONDS,
    Approved,
    AssessAgain,
    Delay,
    End,
    OrderSeen,
    Proceed,
    after_assessment,
    after_error,
    after_order,
    after_validation,
    backoff_seconds,
)
from tradekit.reasons import Reason
from tradekit.states import (
    ORDER_TERMINAL,
    OrderState,
    RecommendationState,
    ReviewVerdict,
    RiskDecision,
    Side,
)
from trading.common.v1 import error_pb2

REASONS = sorted(
    name.removeprefix("ERROR_REASON_")
    for name in error_pb2.ErrorReason.DESCRIPTOR.values_by_name
    if not name.endswith("UNSPECIFIED")
)
STAGES = ("validator", "risk", "executor")
# Everything that may end an item, and for whom; whatever is not here is asked again.
ENDS = (
    {("INVALID_REQUEST", stage, side): "REJECTED" for stage in STAGES for side in Side}
    | {("NOT_HELD", stage, side): "REJECTED" for stage in STAGES for side in Side}
    | {("TRADING_HALTED", stage, side): "REJECTED" for stage in STAGES for side in Side}
    | {("REQUEST_ID_REUSED", stage, side): "REJECTED" for stage in ("validator", "risk") for side in Side}
    | {("EXPIRED", stage, Side.BUY): "EXPIRED" for stage in STAGES}
    | {
        (reason, stage, Side.BUY): "REJECTED"
        for reason in ("CALLER_NOT_ALLOWED", "UNKNOWN_METHOD")
        for stage in ("validator", "risk")
    }
)
AGAIN = {(reason, "executor", side) for reason in ("RESERVATION_LOST", "TICKET_REFUSED") for side in Side}


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("reason", REASONS)
def test_each_error_at_each_stage_on_each_side(reason: str, stage: str, side: Side) -> None:
    error = rebuild(grpc.StatusCode.UNKNOWN, reason, "why")
    outcome = after_error(error, stage, side, 0)
    if (reason, stage, side) in ENDS:
        assert isinstance(outcome, End)
        assert (outcome.state.value, outcome.decided_by) == (ENDS[reason, stage, side], stage)
        assert outcome.reasons
    elif (reason, stage, side) in AGAIN:
        assert isinstance(outcome, AssessAgain)
    else:
        assert isinstance(outcome, Delay)
        assert outcome.why.code == reason


def test_no_transport_error_ends_anything() -> None:
    """A status without a reason comes from a transport, not from a stage."""
    for code in grpc.StatusCode:
        for stage in STAGES:
            for side in Side:
                outcome = after_error(rebuild(code, code.name, "x"), stage, side, 3)
                assert isinstance(outcome, Delay), (code, stage, side)


@given(delays=st.integers(0, 10**9), retry_after=st.none() | st.floats(0, 1e9), side=st.sampled_from(list(Side)))
def test_waits_are_bounded_whatever_a_stage_asks_for(delays: int, retry_after: float | None, side: Side) -> None:
    error = rebuild(grpc.StatusCode.UNAVAILABLE, "STALE_DATA", "x", retry_after=retry_after)
    outcome = after_error(error, "risk", side, delays)
    assert isinstance(outcome, Delay)
    assert FIRST_DELAY_SECONDS <= outcome.seconds <= LONGEST_WAIT_SECONDS
    assert outcome.seconds >= min(retry_after or 0, LONGEST_WAIT_SECONDS)


def test_backoff_doubles_up_to_its_bound() -> None:
    waits = [backoff_seconds(delays) for delays in range(12)]
    assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_DELAY_SECONDS


def test_only_an_approval_goes_on() -> None:
    why = (Reason("LOW_EDGE"),)
    assert after_validation(ReviewVerdict.APPROVE, "rules", False, why) == Proceed()
    assert after_validation(ReviewVerdict.APPROVE, "rules", True, why) == Proceed()
    rejected = after_validation(ReviewVerdict.REJECT, "ollama", False, why)
    assert rejected == End(RecommendationState.REJECTED, "validator:ollama", why)
    late = after_validation(ReviewVerdict.REJECT, "rules", True, why)
    assert late == End(RecommendationState.EXPIRED, "validator:rules", why)


def test_what_risk_decides() -> None:
    why = (Reason("PORTFOLIO_HEAT"), Reason("EXPIRED_REQUEST"))
    for decision in (RiskDecision.APPROVE, RiskDecision.REDUCE):
        assert after_assessment(decision, Decimal(50), "ticket", why) == Approved(Decimal(50), "ticket", why)
    assert after_assessment(RiskDecision.REJECT, Decimal(0), "", why) == End(RecommendationState.REJECTED, "risk", why)
    expired = after_assessment(RiskDecision.REJECT, Decimal(0), "", why[1:])
    assert expired == End(RecommendationState.EXPIRED, "risk", why[1:])


@given(
    state=st.sampled_from(list(OrderState)),
    filled=st.decimals(min_value=0, max_value=10**6, places=8),
    delays=st.integers(0, 100),
)
def test_only_a_terminal_order_ends_it_and_what_was_filled_says_how(
    state: OrderState, filled: Decimal, delays: int
) -> None:
    outcome = after_order(OrderSeen(uuid4(), state, filled, ()), delays)
    if state not in ORDER_TERMINAL:
        assert isinstance(outcome, Delay)
        assert outcome.seconds <= LONGEST_DELAY_SECONDS
        return
    assert isinstance(outcome, End)
    assert outcome.decided_by == "exchange"
    assert outcome.state.value == ("EXECUTED" if filled > 0 else "FAILED")
    assert outcome.reasons or filled > 0
