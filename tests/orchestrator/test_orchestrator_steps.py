"""What answers and errors of the stages mean: a table of every error reason at every stage for both sides."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import rebuild
from svc_orchestrator.steps import (
    EXIT_OBSTACLES,
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    LONGEST_WAIT_SECONDS,
    Approved,
    OrderSeen,
    Proceed,
    Reassess,
    RetryLater,
    Terminal,
    after_assessment,
    after_error,
    after_order,
    after_validation,
    agrees,
    backoff_seconds,
    out_of_retries,
)
from tradekit.reasons import Reason
from tradekit.recommendation import EXIT_RETRIES
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
EXIT_STAGES = ("executor",)
# Everything that may end an item, and for whom; whatever is not here is asked again.
ENDS = (
    {("INVALID_REQUEST", stage, Side.BUY): "REJECTED" for stage in STAGES}
    | {
        (reason, stage, side): "REJECTED"
        for reason in ("NOT_HELD", "TRADING_HALTED")
        for side, stages in ((Side.BUY, STAGES), (Side.SELL, EXIT_STAGES))
        for stage in stages
    }
    | {("EXPIRED", stage, Side.BUY): "EXPIRED" for stage in STAGES}
    | {("TERMS_DIFFER", stage, Side.BUY): "REJECTED" for stage in STAGES}
    | {
        (reason, stage, Side.BUY): "REJECTED"
        for reason in ("CALLER_NOT_ALLOWED", "UNKNOWN_METHOD", "REQUEST_ID_REUSED")
        for stage in ("validator", "risk")
    }
)
AGAIN = {(reason, "executor", side) for reason in ("RESERVATION_LOST", "TICKET_REFUSED") for side in Side} | {
    ("INVALID_REQUEST", "executor", Side.SELL)
}
# An exit is never reviewed.
ASKED = [(stage, side) for stage in STAGES for side in Side if (stage, side) != ("validator", Side.SELL)]


@pytest.mark.parametrize(("stage", "side"), ASKED)
@pytest.mark.parametrize("reason", REASONS)
def test_each_error_at_each_stage_on_each_side(reason: str, stage: str, side: Side) -> None:
    error = rebuild(grpc.StatusCode.UNKNOWN, reason, "why")
    outcome = after_error(error, stage, side, 0)
    if (reason, stage, side) in ENDS:
        assert isinstance(outcome, Terminal)
        assert (outcome.state.value, outcome.decided_by) == (ENDS[reason, stage, side], stage)
        assert outcome.reasons
    elif (reason, stage, side) in AGAIN:
        assert isinstance(outcome, Reassess)
    else:
        assert isinstance(outcome, RetryLater)
        assert outcome.why.code == reason


@pytest.mark.parametrize("reason", REASONS)
def test_an_exit_without_a_ticket_ends_only_where_nothing_can_be_sold(reason: str) -> None:
    outcome = after_error(rebuild(grpc.StatusCode.UNKNOWN, reason, "why"), "executor", Side.SELL, 0, ticket=False)
    ends = {"NOT_HELD": "NOT_HELD", "TRADING_HALTED": "KILL_SWITCH", "INVALID_REQUEST": "INVALID_REQUEST"}
    if reason in ends:
        assert isinstance(outcome, Terminal)
        assert [one.code for one in outcome.reasons] == [ends[reason]]
    else:
        assert isinstance(outcome, RetryLater)


def test_no_transport_error_ends_anything() -> None:
    """A status without a reason comes from a transport, not from a stage."""
    for code in grpc.StatusCode:
        for stage in STAGES:
            for side in Side:
                outcome = after_error(rebuild(code, code.name, "x"), stage, side, 3)
                assert isinstance(outcome, RetryLater), (code, stage, side)


@given(delays=st.integers(0, 10**9), retry_after=st.none() | st.floats(0, 1e9), side=st.sampled_from(list(Side)))
def test_waits_are_bounded_whatever_a_stage_asks_for(delays: int, retry_after: float | None, side: Side) -> None:
    error = rebuild(grpc.StatusCode.UNAVAILABLE, "STALE_DATA", "x", retry_after=retry_after)
    outcome = after_error(error, "risk", side, delays)
    assert isinstance(outcome, RetryLater)
    assert FIRST_DELAY_SECONDS <= outcome.seconds <= LONGEST_WAIT_SECONDS
    assert outcome.seconds >= min(retry_after or 0, LONGEST_WAIT_SECONDS)


def test_backoff_doubles_up_to_its_bound() -> None:
    waits = [backoff_seconds(delays) for delays in range(12)]
    assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_DELAY_SECONDS
    assert backoff_seconds(12, LONGEST_WAIT_SECONDS) == LONGEST_WAIT_SECONDS


def test_only_an_approval_goes_on() -> None:
    why = (Reason("LOW_EDGE"),)
    assert after_validation(ReviewVerdict.APPROVE, "rules", False, why) == Proceed()
    assert after_validation(ReviewVerdict.APPROVE, "rules", True, why) == Proceed()
    rejected = after_validation(ReviewVerdict.REJECT, "ollama", False, why)
    assert rejected == Terminal(RecommendationState.REJECTED, "validator:ollama", why)
    late = after_validation(ReviewVerdict.REJECT, "rules", True, why)
    assert late == Terminal(RecommendationState.EXPIRED, "validator:rules", why)


def decided(decision: RiskDecision, size: int, *codes: str, side: Side = Side.BUY, ticket: str = "ticket") -> object:
    return after_assessment(decision, Decimal(100), Decimal(size), ticket, side, tuple(Reason(code) for code in codes))


def test_what_risk_decides() -> None:
    why = (Reason("PORTFOLIO_HEAT"), Reason("EXPIRED_REQUEST"))
    codes = [reason.code for reason in why]
    for decision in (RiskDecision.APPROVE, RiskDecision.REDUCE):
        assert decided(decision, 50, *codes) == Approved(Decimal(50), "ticket", why)
        # An exit may be enlarged so that no rest stays; an entry never.
        assert decided(decision, 101, side=Side.SELL) == Approved(Decimal(101), "ticket", ())
        for size, ticket, side in ((101, "ticket", Side.BUY), (0, "ticket", Side.SELL), (50, "", Side.SELL)):
            with pytest.raises(ValueError, match="was asked"):
                decided(decision, size, side=side, ticket=ticket)
    assert decided(RiskDecision.REJECT, 0, *codes, ticket="") == Terminal(RecommendationState.REJECTED, "risk", why)
    expired = decided(RiskDecision.REJECT, 0, "EXPIRED_REQUEST", ticket="")
    assert expired == Terminal(RecommendationState.EXPIRED, "risk", why[1:])


@pytest.mark.parametrize("obstacle", ["", *sorted(EXIT_OBSTACLES)])
def test_risk_ends_an_exit_only_where_nothing_can_be_sold(obstacle: str) -> None:
    codes = ["INTERNAL", "STALE_DATA", "EXPIRED_REQUEST", *filter(None, [obstacle])]
    outcome = decided(RiskDecision.REJECT, 0, *codes, side=Side.SELL, ticket="")
    if obstacle:
        assert isinstance(outcome, Terminal)
    else:
        assert isinstance(outcome, Approved)
        assert (outcome.size, outcome.ticket) == (Decimal(100), "")


def test_an_exit_is_given_up_after_a_day_of_tries_and_an_entry_by_its_life() -> None:
    now = datetime(2025, 6, 15, tzinfo=UTC)
    assert out_of_retries(Side.SELL, now - EXIT_RETRIES, now)
    assert not out_of_retries(Side.SELL, now - EXIT_RETRIES + timedelta(seconds=1), now)
    assert not out_of_retries(Side.SELL, None, now)
    assert not out_of_retries(Side.BUY, now - 2 * EXIT_RETRIES, now)


@given(
    end=st.sampled_from(list(RecommendationState)),
    state=st.sampled_from(list(OrderState)),
    filled=st.sampled_from([Decimal(0), Decimal("0.01")]),
)
def test_a_recommendation_ends_only_as_its_order_says(
    end: RecommendationState, state: OrderState, filled: Decimal
) -> None:
    means = "EXECUTED" if filled else "FAILED"
    allowed = agrees(end, OrderSeen(uuid4(), state, filled, ()))
    assert allowed == (state in ORDER_TERMINAL and end.value == means)


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
        assert isinstance(outcome, RetryLater)
        assert outcome.seconds <= LONGEST_DELAY_SECONDS
        return
    assert isinstance(outcome, Terminal)
    assert outcome.decided_by == "exchange"
    assert outcome.state.value == ("EXECUTED" if filled > 0 else "FAILED")
    assert outcome.reasons or filled > 0
