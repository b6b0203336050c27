"""What a stage's answer means for a recommendation: the next step, or the end.

Pure: the one place that turns verdicts, decisions, orders and errors into states. A transport error is never an end.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from meshkit.errors import MeshError
from tradekit.reasons import Reason
from tradekit.states import OrderState, RecommendationState, ReviewVerdict, RiskDecision, Side

# Wait before a stage is asked again, where the stage gave none. Doubles per delay up to the longest.
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 5.0
# No stage may have an item wait longer than this, whatever it asks for.
LONGEST_WAIT_SECONDS = 30.0
# The request itself is wrong, or there is nothing to sell: asking again cannot help on either side.
_NEVER = frozenset({"INVALID_REQUEST", "NOT_HELD"})
# What a person or a newer version mends. It closes an entry; an exit waits for it.
_NOT_NOW = frozenset({"CALLER_NOT_ALLOWED", "UNKNOWN_METHOD"})


@dataclass(frozen=True, slots=True)
class End:
    """The recommendation is done."""

    state: RecommendationState
    decided_by: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Delay:
    """Ask again later; what was found so far is kept by the stages."""

    seconds: float
    why: Reason


@dataclass(frozen=True, slots=True)
class AssessAgain:
    """The reservation was lost before the order was committed: a new attempt is assessed."""

    why: Reason


@dataclass(frozen=True, slots=True)
class Proceed:
    """The stage lets it pass."""


@dataclass(frozen=True, slots=True)
class Approved:
    """What the risk engine allows; the executor demands the ticket."""

    size: Decimal
    ticket: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order as the executor reports it."""

    order_id: UUID
    state: OrderState
    filled_size: Decimal
    reasons: tuple[Reason, ...]


def after_validation(
    verdict: ReviewVerdict, decided_by: str, expired: bool, reasons: tuple[Reason, ...]
) -> Proceed | End:
    """Only an approval goes on."""
    if verdict is ReviewVerdict.APPROVE:
        return Proceed()
    if expired:
        return End(RecommendationState.EXPIRED, f"validator:{decided_by}", reasons)
    return End(RecommendationState.REJECTED, f"validator:{decided_by}", reasons)


def after_assessment(decision: RiskDecision, size: Decimal, ticket: str, reasons: tuple[Reason, ...]) -> Approved | End:
    """APPROVE and REDUCE carry a ticket; REJECT ends it."""
    if decision is RiskDecision.REJECT:
        expired = bool(reasons) and reasons[0].code == "EXPIRED_REQUEST"
        state = RecommendationState.EXPIRED if expired else RecommendationState.REJECTED
        return End(state, "risk", reasons)
    return Approved(size, ticket, reasons)


def after_order(order: OrderSeen, delays: int) -> End | Delay:
    """Only a terminal order ends it; what was filled decides how."""
    if order.state in (OrderState.PENDING, OrderState.OPEN, OrderState.UNKNOWN):
        why = Reason(f"ORDER_{order.state.value}", scope=f"order:{order.order_id}")
        return Delay(backoff_seconds(delays), why)
    if order.filled_size > 0:
        return End(RecommendationState.EXECUTED, "exchange", order.reasons)
    reasons = order.reasons or (Reason("NOTHING_FILLED", scope=f"order:{order.order_id}"),)
    return End(RecommendationState.FAILED, "exchange", reasons)


def after_error(error: MeshError, stage: str, side: Side, delays: int) -> End | Delay | AssessAgain:
    """An error of a stage. Entries fail closed, exits stay open: only what can never succeed ends an exit."""
    reason = Reason(error.reason, observed=error.message[:200], scope=f"service:{stage}")
    if error.reason in _NEVER:
        return End(RecommendationState.REJECTED, stage, (reason,))
    if error.reason == "EXPIRED" and side is Side.BUY:
        return End(RecommendationState.EXPIRED, stage, (reason,))
    if error.reason == "TRADING_HALTED":
        return End(RecommendationState.REJECTED, stage, (Reason("KILL_SWITCH", scope="account"),))
    if stage == "executor":
        # An earlier call may have made the order, and REQUEST_ID_REUSED proves one: these never end an item here.
        if error.reason in ("RESERVATION_LOST", "TICKET_REFUSED"):
            return AssessAgain(reason)
    elif error.reason == "REQUEST_ID_REUSED" or (side is Side.BUY and error.reason in _NOT_NOW):
        return End(RecommendationState.REJECTED, stage, (reason,))
    asked = min(error.retry_after or 0.0, LONGEST_WAIT_SECONDS)
    return Delay(max(asked, backoff_seconds(delays)), reason)


def backoff_seconds(delays: int) -> float:
    """Wait before the next try after this many delays."""
    return float(min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(delays, 10)))
