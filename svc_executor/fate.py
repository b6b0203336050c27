"""What to do next about an order, and what the exchange's word makes of it. No error of a transport appears in here.

An order in doubt is first searched for at the exchange, and sent again (same bytes, same id) only if it is not there:
how long the exchange remembers an id is not documented. That it was never made is believed only when it is absent from
the list a while after the newest send of unknown fate, because a new order may not be listed at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from uuid import UUID

from exchange_client import ExchangeFill, ExchangeOrder
from svc_executor.intent import VARIANT, size_field
from tradekit.decimals import divide, to_stored_scale
from tradekit.reasons import Reason
from tradekit.states import ORDER_TERMINAL, OrderState, Side

# Where a fill is told in quote units its base size is a quotient; below this it is the same size.
_QUOTIENT_TOLERANCE = Decimal("1e-8")


class Step(Enum):
    """The next thing to do about an order."""

    DONE = auto()
    REFRESH = auto()
    SEARCH = auto()
    SEND = auto()
    GIVE_UP = auto()
    WAIT = auto()


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order row as decisions need it. `sent_at` is the newest send whose fate is open, None if all are known."""

    order_id: UUID
    product_id: str
    side: Side
    size: Decimal
    body: str
    state: OrderState
    exchange_order_id: str | None
    as_of: datetime
    expire_at: datetime
    sent_at: datetime | None
    now: datetime

    @property
    def terminal(self) -> bool:
        return self.state in ORDER_TERMINAL

    @property
    def doubtful(self) -> bool:
        """Whether the exchange may have it without our knowing."""
        return self.state is OrderState.UNKNOWN or self.sent_at is not None

    @property
    def may_send(self) -> bool:
        """Entries only within their life; exits always."""
        return self.side is Side.SELL or self.now < self.expire_at

    def settled_absence(self, absence: timedelta) -> bool:
        """Whether "not listed" proves by now that no send arrived."""
        return self.sent_at is None or self.now - self.sent_at >= absence


def next_step(order: OrderFacts, absent: bool, absence: timedelta) -> Step:
    """`absent`: the exchange's list was just searched and does not have it."""
    if order.terminal:
        return Step.DONE
    if order.exchange_order_id:
        return Step.REFRESH
    if order.doubtful and not absent:
        return Step.SEARCH
    if order.may_send:
        return Step.SEND
    if order.doubtful and not order.settled_absence(absence):
        return Step.WAIT
    return Step.GIVE_UP


def has_our_terms(order: OrderFacts, found: ExchangeOrder) -> bool:
    """Whether the exchange's order is the one we wrote down; the reply to a create does not prove it."""
    terms = found.configuration.get(VARIANT)
    if found.client_order_id != str(order.order_id) or len(found.configuration) != 1 or not isinstance(terms, dict):
        return False
    if found.product_id != order.product_id or found.side != order.side.value:
        return False
    other = size_field(Side.SELL if order.side is Side.BUY else Side.BUY)
    try:
        return Decimal(str(terms.get(size_field(order.side)))) == order.size and not terms.get(other)
    except ArithmeticError:
        return False


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What an order is now, by the exchange's word."""

    state: OrderState
    reasons: tuple[Reason, ...] = ()


def conclude(found: ExchangeOrder, fills: Iterable[ExchangeFill]) -> Conclusion:
    """Terminal only when the exchange is done, has settled, and its fills add up to what it says was filled."""
    known = list(fills)
    if not found.terminal or not found.settled or not _adds_up(found, known):
        return Conclusion(OrderState.OPEN)
    if found.filled_size > 0:
        state = OrderState.FILLED if found.status == "FILLED" else OrderState.CANCELLED
        return Conclusion(state, () if state is OrderState.FILLED else (_ended("PARTLY_FILLED", found),))
    if found.status == "FAILED":
        return Conclusion(OrderState.REJECTED, (_ended(found.reject_reason or "EXCHANGE_FAILED", found),))
    return Conclusion(OrderState.CANCELLED, (_ended("NOTHING_FILLED", found),))


def _ended(code: str, found: ExchangeOrder) -> Reason:
    return Reason(code, observed=(found.message or found.status)[:100], scope=f"product:{found.product_id}")


def _adds_up(found: ExchangeOrder, fills: list[ExchangeFill]) -> bool:
    total = sum((base_size(fill) for fill in fills), Decimal(0))
    exact = not any(fill.size_in_quote for fill in fills)
    difference = abs(total - found.filled_size)
    return difference == 0 if exact else difference <= _QUOTIENT_TOLERANCE


def base_size(fill: ExchangeFill) -> Decimal:
    """Base units of a fill, whichever unit the exchange told it in."""
    return to_stored_scale(divide(fill.size, fill.price)) if fill.size_in_quote else fill.size
