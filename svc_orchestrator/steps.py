"""What a stage's answer means for a recommendation: the next step, or the end.

Pure: the one place that turns verdicts, decisions, orders and errors into states. A transport error is never an end. An
entry is asked for until its life is over, an exit until a day of tries has failed; both then end with the last reason.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshkit.backoff import doubled
from meshkit.errors import MeshError
from tradekit.reasons import Reason
from tradekit.recommendation import EXIT_RETRIES
from tradekit.sizes import exceeds
from tradekit.states import (
    ORDER_TERMINAL,
    OrderState,
    OrderType,
    RecommendationState,
    ReviewVerdict,
    RiskDecision,
    Side,
)
from tradekit.units import BaseSize, OrderSize

# Wait before a stage is asked again, where the stage gave none. Doubles per delay up to the longest.
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 5.0
# No stage may have an item wait longer than this, whatever it asks for; an exit backs off up to it.
LONGEST_WAIT_SECONDS = 30.0
# The request itself is wrong, or there is nothing to sell: asking again cannot help on either side.
_NEVER = frozenset({"INVALID_REQUEST", "NOT_HELD"})
# What a person or a newer version mends. Before an order may exist it closes an entry; an exit waits for it.
_NOT_NOW = frozenset({"CALLER_NOT_ALLOWED", "UNKNOWN_METHOD", "REQUEST_ID_REUSED"})
# Reasons of an order that ended before it was sent, because somebody wanted it so.
_BY_OPERATOR = frozenset({"KILL_SWITCH", "CANCELLED_BY_OPERATOR"})
# The scope of a reason that is about an order begins so, and that of no other reason.
ORDER_SCOPE = "order:"
# All that the risk engine may end an exit for. Whatever else it finds, the executor knows what is held and sells it.
EXIT_OBSTACLES = frozenset({"KILL_SWITCH", "UNKNOWN_PRODUCT", "TRADING_DISABLED", "SELL_NOT_HELD", "MIN_NOTIONAL"})


@dataclass(frozen=True, slots=True)
class Terminal:
    """The recommendation is done."""

    state: RecommendationState
    decided_by: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Ask again later; the stages keep their answers so far."""

    seconds: float
    why: Reason
    # Nothing happens before the market moves: in a replay it waits for the next bar.
    until_next_bar: bool = False


@dataclass(frozen=True, slots=True)
class Reassess:
    """The reservation was lost before the order was committed: a new attempt is assessed."""

    why: Reason


@dataclass(frozen=True, slots=True)
class Proceed:
    """The stage lets it pass."""


@dataclass(frozen=True, slots=True)
class Approved:
    """What the risk engine allows; the executor demands the ticket for an entry.

    An exit may go without one, and then the executor alone judges its size.
    """

    size: OrderSize
    ticket: str
    reasons: tuple[Reason, ...]
    decided_by: str = "risk"


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order as the executor reports it."""

    order_id: UUID
    state: OrderState
    filled_size: BaseSize
    reasons: tuple[Reason, ...]
    order_type: OrderType = OrderType.MARKET

    @property
    def rests(self) -> bool:
        """Whether the exchange may keep it unfilled."""
        return self.state is OrderState.OPEN and self.order_type.rests


def after_validation(
    verdict: ReviewVerdict, decided_by: str, expired: bool, reasons: tuple[Reason, ...]
) -> Proceed | Terminal:
    """Only an approval goes on."""
    if verdict is ReviewVerdict.APPROVE:
        return Proceed()
    if expired:
        return Terminal(RecommendationState.EXPIRED, f"validator:{decided_by}", reasons)
    return Terminal(RecommendationState.REJECTED, f"validator:{decided_by}", reasons)


def after_assessment(
    decision: RiskDecision, asked: OrderSize, size: OrderSize, ticket: str, side: Side, reasons: tuple[Reason, ...]
) -> Approved | Terminal:
    """APPROVE and REDUCE carry a ticket. REJECT ends an entry, and an exit only where nothing can be sold at all.

    ValueError for an answer outside the contract: an approval without a ticket, of nothing, or of more than an entry asked
    for. An exit may be enlarged, so that no rest stays that could not be sold.
    """
    if decision is RiskDecision.REJECT:
        codes = {reason.code for reason in reasons}
        if side is Side.SELL and not codes & EXIT_OBSTACLES:
            return Approved(asked, "", reasons)
        expired = bool(reasons) and reasons[0].code == "EXPIRED_REQUEST"
        state = RecommendationState.EXPIRED if expired else RecommendationState.REJECTED
        return Terminal(state, "risk", reasons)
    if not ticket or size <= 0 or (side is Side.BUY and exceeds(side, size, asked)):
        raise ValueError(f"{decision.value} of {size} where {asked} was asked, with {'a' if ticket else 'no'} ticket")
    return Approved(size, ticket, reasons)


def without_risk(size: BaseSize, why: Reason) -> Approved:
    """An exit that goes on although the risk engine gave no word in time: `why` is kept as a flag."""
    return Approved(size, "", (Reason("RISK_UNANSWERED", observed=why.code, scope=why.scope), why), "orchestrator")


def after_order(order: OrderSeen, delays: int) -> Terminal | RetryLater:
    """Only a terminal order ends it; what was filled decides how."""
    if order.state not in ORDER_TERMINAL:
        why = Reason(f"ORDER_{order.state.value}", scope=f"{ORDER_SCOPE}{order.order_id}")
        return RetryLater(backoff_seconds(delays), why, order.rests)
    if order.filled_size > 0:
        return Terminal(RecommendationState.EXECUTED, "exchange", order.reasons)
    reasons = order.reasons or (Reason("NOTHING_FILLED", scope=f"{ORDER_SCOPE}{order.order_id}"),)
    if reasons[0].code in _BY_OPERATOR:
        return Terminal(RecommendationState.REJECTED, "operator", reasons)
    return Terminal(RecommendationState.FAILED, "executor" if reasons[0].code == "NOT_SENT" else "exchange", reasons)


def after_error(
    error: MeshError, stage: str, side: Side, delays: int, ticket: bool = True
) -> Terminal | RetryLater | Reassess:
    """An error of a stage. Entries fail closed, exits stay open: only what can never succeed ends an exit.

    What the risk engine says to an exit never ends it, and a refusal that may be due to its ticket is no last word.
    """
    reason = Reason(error.reason, observed=error.message[:200], scope=f"service:{stage}")
    leaves = side is Side.SELL
    if stage == "executor" and _blames_ticket(error, side) and (ticket or not leaves):
        return Reassess(reason)
    if leaves and stage == "risk":
        return _later(error, side, delays, reason)
    if error.reason in _NEVER:
        return Terminal(RecommendationState.REJECTED, stage, (reason,))
    if error.reason == "TRADING_HALTED":
        return Terminal(RecommendationState.REJECTED, stage, (Reason("KILL_SWITCH", scope="account"),))
    if leaves:
        return _later(error, side, delays, reason)
    if error.reason == "EXPIRED":
        return Terminal(RecommendationState.EXPIRED, stage, (reason,))
    # At the executor an earlier call may have made the order, and REQUEST_ID_REUSED proves one.
    if error.reason == "TERMS_DIFFER" or (stage != "executor" and error.reason in _NOT_NOW):
        return Terminal(RecommendationState.REJECTED, stage, (reason,))
    return _later(error, side, delays, reason)


def _blames_ticket(error: MeshError, side: Side) -> bool:
    """Another ticket may help; an exit that is refused as it is may pass without the risk engine's size and ticket."""
    return error.reason in ("RESERVATION_LOST", "TICKET_REFUSED") or (
        side is Side.SELL and error.reason == "INVALID_REQUEST"
    )


def _later(error: MeshError, side: Side, delays: int, reason: Reason) -> RetryLater:
    asked = min(error.retry_after or 0.0, LONGEST_WAIT_SECONDS)
    longest = LONGEST_WAIT_SECONDS if side is Side.SELL else LONGEST_DELAY_SECONDS
    return RetryLater(max(asked, backoff_seconds(delays, longest)), reason)


def violation(stage: str, what: str) -> Reason:
    """The reason of an answer that is outside the contract: a defect of one side, and not an outage."""
    return Reason("CONTRACT_VIOLATION", observed=what[:200], scope=f"service:{stage}")


def out_of_retries(side: Side, delayed_since: datetime | None, now: datetime) -> bool:
    """Whether an exit has failed for a day. An entry has its life for that."""
    return side is Side.SELL and delayed_since is not None and now - delayed_since >= EXIT_RETRIES


def given_up(why: Reason) -> Terminal:
    """The end of an exit that was tried for a day; `why` is its newest reason."""
    limit = str(int(EXIT_RETRIES.total_seconds()))
    exhausted = Reason("RETRIES_EXHAUSTED", limit, limit, "seconds", "request")
    return Terminal(RecommendationState.FAILED, "orchestrator", (exhausted, why))


def agrees(state: RecommendationState, order: OrderSeen) -> bool:
    """Whether a recommendation may end so, given its order: what the order says, and nothing else."""
    end = after_order(order, 0)
    return isinstance(end, Terminal) and end.state is state


def backoff_seconds(delays: int, longest: float = LONGEST_DELAY_SECONDS) -> float:
    """Wait before the next try after this many delays."""
    return doubled(FIRST_DELAY_SECONDS, longest, delays)
