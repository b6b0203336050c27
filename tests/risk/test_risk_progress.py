"""What a decision changes for the items after it in its batch."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from meshkit.errors import RequestIdReused
from schema.requests import RequestKey
from svc_risk.assessments import Decision, Reservation, StoredAssessment
from svc_risk.known import AccountAt
from svc_risk.locks import lock_id
from svc_risk.progress import Progress, after_answer, after_decision, stored_anew
from svc_risk.score import ScoreParts
from svc_risk.snapshot import Inputs, Lock, PastOrders, Request
from tests.risk.risk_cases import AS_OF, HOUR, D, buy, sell, snapshot
from tradekit.states import ReservationState, RiskDecision, Side

NOTHING = AccountAt(D(1000), None, (), frozenset(), ())
DRAWDOWN = Lock("DRAWDOWN", "account", AS_OF, None, "0.1", "0.12", "ratio")
DAY = replace(DRAWDOWN, code="DAILY_LOSS", until_time=AS_OF + HOUR * 9)
KEY = RequestKey("risk", "orchestrator", UUID(int=1), "AssessRecommendation", "a" * 64)


def made(request: Request, reserved: str | None = "50", locks: tuple[Lock, ...] = ()) -> Decision:
    """A decision that reserves so much, or refuses."""
    buys = request.side is Side.BUY
    assessment = StoredAssessment(
        assessment_id=UUID(int=request.recommendation_id.int + 100),
        recommendation_id=request.recommendation_id,
        attempt=1,
        request_hash="h",
        product_id=request.product_id,
        side=request.side,
        decision=RiskDecision.REJECT if reserved is None else RiskDecision.APPROVE,
        requested_size=request.size,
        adjusted_size=request.size,
        score=0.1,
        parts=ScoreParts(0, 0, 0, 0, 0),
        sigma_14d=0.5,
        heat_before=0.0,
        heat_after=0.0,
        exposure_before=D(0),
        exposure_after=D(0),
        equity=D(1000),
        reasons=(),
        limits_version="v",
        ticket="",
        as_of=request.as_of,
        created_at=AS_OF,
    )
    held = None
    if reserved is not None:
        quote, base = (D(reserved), D(0)) if buys else (D(0), D(reserved))
        held = Reservation(quote, D(0), base, 0.0, AS_OF + timedelta(seconds=60))
    return Decision(assessment, Inputs(request, snapshot()), held, locks)


def test_an_entry_is_exposure_a_token_and_an_entry_for_the_next() -> None:
    found = after_decision(after_decision(Progress(), made(buy())), made(buy(as_of=AS_OF - HOUR / 2), "20.5"))
    assert (found.decided, found.newest) == (2, AS_OF)
    assert {name: str(amount) for name, amount in found.reserved.items()} == {"ETH-USD": "70.500000000000000000"}
    assert found.last_entry("ETH-USD", None) == AS_OF
    assert found.last_entry("ETH-USD", AS_OF + HOUR) == AS_OF + HOUR
    assert found.last_entry("BTC-USD", None) is None
    tokens = (PastOrders("ETH-USD", AS_OF - HOUR / 2), PastOrders("ETH-USD", AS_OF))
    assert found.past_orders(NOTHING, AS_OF) == tokens
    # A token that was spent an hour before is not remembered, one that is spent later is.
    assert found.past_orders(NOTHING, AS_OF + HOUR / 2) == tokens[1:]
    assert found.past_orders(NOTHING, AS_OF - HOUR) == tokens
    # What was read and what came since are counted together.
    read = replace(NOTHING, orders=(PastOrders("ETH-USD", AS_OF, 3), PastOrders("BTC-USD", AS_OF)))
    assert found.past_orders(read, AS_OF + HOUR / 2) == (PastOrders("BTC-USD", AS_OF), PastOrders("ETH-USD", AS_OF, 4))


def test_an_exit_is_a_token_and_no_exposure() -> None:
    found = after_decision(Progress(), made(sell(), "0.02"))
    assert (found.reserved, found.entries, found.orders) == ({}, {}, (PastOrders("ETH-USD", AS_OF),))


def test_a_refusal_is_a_version_and_an_answer_alone() -> None:
    refused = made(buy(), None)
    found = after_decision(Progress(), refused)
    assert (found.decided, found.reserved, found.entries, found.orders) == (1, {}, {}, ())
    answer = found.attempt(refused.assessment.recommendation_id, None)
    assert answer is not None and (answer.assessment, answer.state) == (refused.assessment, None)


def test_the_answer_stands_for_a_repetition() -> None:
    decision = made(buy())
    found = after_decision(Progress(), decision).attempt(decision.assessment.recommendation_id, None)
    assert found is not None and found.state is ReservationState.HELD
    assert decision.reservation is not None and found.expires_at == decision.reservation.expires_at


def test_locks_are_in_force_from_their_time_until_their_end() -> None:
    found = after_decision(Progress(), made(buy(), None, (DRAWDOWN, DAY)))
    assert found.locks_in_force(NOTHING, AS_OF) == (DAY, DRAWDOWN)
    assert found.locks_in_force(NOTHING, AS_OF - HOUR) == ()
    assert found.locks_in_force(NOTHING, AS_OF + HOUR * 9) == (DRAWDOWN,)
    older = replace(DAY, from_time=AS_OF - HOUR)
    assert found.locks_in_force(replace(NOTHING, locks=((lock_id(older), older),)), AS_OF) == (older, DAY, DRAWDOWN)


def test_a_lock_that_was_released_at_its_own_time_stays_released() -> None:
    at = replace(NOTHING, ended=frozenset({lock_id(DRAWDOWN)}))
    assert stored_anew((DRAWDOWN, DAY), at) == (DAY,)


def test_a_request_id_stands_for_one_body_of_one_caller() -> None:
    found = after_answer(Progress(), KEY)
    assert found.is_claimed(KEY, None) and not Progress().is_claimed(KEY, None) and Progress().is_claimed(KEY, "x")
    found.require_unused(KEY, None)
    found.require_unused(replace(KEY, caller="operator", body="b"), None)
    for progress, stored in ((found, None), (Progress(), KEY.body)):
        with pytest.raises(RequestIdReused):
            progress.require_unused(replace(KEY, body="b"), stored)
