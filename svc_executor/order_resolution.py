"""What to do next about an order, and what the exchange's word makes of it. No error of a transport appears in here.

An order whose send is in doubt is first searched for at the exchange, and sent again (same bytes, same id) only if it is
not there: how long the exchange remembers an id is not documented. That it was never made is believed only when it is still
absent after every token it was sent with has ended and the longest request is over: until then a send may arrive. What the
exchange shows without saying enough about it is neither ours nor somebody else's; it stays in doubt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from uuid import UUID

from exchange_client import Bracket, ExchangeFill, ExchangeOrder, Limit, OrderTerms
from exchange_client.models import EXPIRED, FAILED, FILLED
from tradekit.decimals import to_stored_scale
from tradekit.reasons import Reason
from tradekit.recommendation import EXIT_RETRIES
from tradekit.sizes import NO_BASE, base_of
from tradekit.states import ORDER_TERMINAL, OrderState, Side, TradingState
from tradekit.units import BaseSize, OrderSize, ProductId, QuoteSize

# Where a fill comes in quote units its base size is a quotient; below this it is the same size.
_QUOTIENT_TOLERANCE = BaseSize(Decimal("1e-8"))
# How long an order that ended without the exchange's last word is still asked for.
WATCH = timedelta(days=1)


class Step(Enum):
    """The next thing to do about an order."""

    DONE = auto()
    REFRESH = auto()
    SEARCH = auto()
    SEND = auto()
    GIVE_UP = auto()
    CANCEL = auto()
    HALT = auto()
    WAIT = auto()


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order row as decisions need it. `sent_at` is the newest send whose outcome is open, None if all are known.
    `tried_since`: when it was made, or when what waited was to be sent.
    `cancel_reason`: the code of why its end was asked for, None where it was not."""

    order_id: UUID
    product_id: ProductId
    side: Side
    size: OrderSize
    state: OrderState
    exchange_order_id: str | None
    bracket: Bracket | None
    limit: Limit | None
    tried_since: datetime
    expire_at: datetime
    sent_at: datetime | None
    cancel_reason: str | None
    now: datetime

    @property
    def terms(self) -> OrderTerms:
        """What was ordered."""
        return OrderTerms(self.order_id, self.product_id, self.side, self.size, self.bracket, self.limit)

    @property
    def cancel_requested(self) -> bool:
        """Whether its end was asked for."""
        return self.cancel_reason is not None

    @property
    def why_cancelled(self) -> tuple[Reason, ...]:
        """The reason of a cancel that was requested."""
        return () if self.cancel_reason is None else (Reason(self.cancel_reason, scope=f"order:{self.order_id}"),)

    @property
    def terminal(self) -> bool:
        return self.state in ORDER_TERMINAL

    @property
    def doubtful(self) -> bool:
        """Whether the exchange may have it without our knowing."""
        return self.state is OrderState.UNKNOWN or self.sent_at is not None

    @property
    def alive(self) -> bool:
        """Entries within their life; exits, which no market makes wrong, for as long as they are tried."""
        return self.now < (self.tried_since + EXIT_RETRIES if self.side is Side.SELL else self.expire_at)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known beside the row. `trading` is the stored trading state, `permitted` whether this process knows of none
    that is stricter. `absent`: the exchange's complete list was just searched and lacks the order. `waited`: how long the
    newest send of open outcome has been watched, by a clock that nobody sets. `refused`: a later send was refused by the
    exchange's own word, so another would be too."""

    trading: TradingState
    permitted: bool
    absent: bool
    waited: timedelta
    refused: bool = False


def never_made(order: OrderFacts, circumstances: Circumstances, absence: timedelta) -> bool:
    """Whether it is known that no send of the order made one."""
    return not order.doubtful or (circumstances.absent and circumstances.waited >= absence)


def next_step(order: OrderFacts, circumstances: Circumstances, absence: timedelta) -> Step:
    """`absence`: the life of a token and the longest request, together. The state that is stored ends an order; one that only
    this process knows holds it back until the database has it too."""
    if order.terminal:
        return Step.DONE
    if order.state is OrderState.WAITING:
        return Step.CANCEL if order.cancel_requested else Step.WAIT
    if order.exchange_order_id:
        return Step.REFRESH
    if order.doubtful and not circumstances.absent:
        return Step.SEARCH
    over = never_made(order, circumstances, absence)
    if order.cancel_requested:
        return Step.CANCEL if over else Step.WAIT
    if not circumstances.trading.allows(order.side) and not order.doubtful:
        return Step.HALT
    if not order.alive or circumstances.refused:
        return Step.GIVE_UP if over else Step.WAIT
    return Step.SEND if circumstances.permitted and circumstances.trading.allows(order.side) else Step.WAIT


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What an order is now, by the exchange's word. `done`: the exchange calls it done, so it trades no more. `done_size`: what
    it filled by then, of which the fills may not all be listed yet; None while nobody says. `final`: the exchange also says
    that nothing comes after; an order that ended without that is watched for a while longer."""

    state: OrderState
    reasons: tuple[Reason, ...] = ()
    done: bool = False
    done_size: BaseSize | None = None
    final: bool = False


def conclude(found: ExchangeOrder, fills: Iterable[ExchangeFill], why_cancelled: tuple[Reason, ...] = ()) -> Conclusion:
    """Terminal when the exchange is done and its fills add up to what it says was filled. That it has settled is not waited for,
    which may take long: what is done trades no more and holds nothing, so what it left may be sold at once. What is listed
    later still is adopted. `why_cancelled`: where its end was asked for; an exchange that ends it by itself says so.
    """
    known = list(fills)
    if not found.terminal:
        return Conclusion(OrderState.OPEN)
    if found.status == FILLED and found.filled_size == 0:
        # Contradicts itself: half of a change, seen too early. All of it may be filled.
        return Conclusion(OrderState.OPEN, done=True)
    if not adds_up(found, known):
        return Conclusion(OrderState.OPEN, done=True, done_size=found.filled_size)
    why = why_cancelled or ((_ended("LIFE_OVER", found),) if found.status == EXPIRED else ())
    reasons: tuple[Reason, ...]
    if found.filled_size > 0:
        state = OrderState.FILLED if found.status == FILLED else OrderState.CANCELLED
        reasons = () if state is OrderState.FILLED else (*why, _ended("PARTLY_FILLED", found))
    elif found.status == FAILED:
        state, reasons = OrderState.REJECTED, (_ended(found.reject_reason or "EXCHANGE_FAILED", found),)
    else:
        state, reasons = OrderState.CANCELLED, (*why, _ended("NOTHING_FILLED", found))
    return Conclusion(state, reasons, done=True, done_size=found.filled_size, final=found.settled)


def _ended(code: str, found: ExchangeOrder) -> Reason:
    return Reason(code, observed=(found.message or found.status)[:100], scope=f"product:{found.product_id}")


def adds_up(found: ExchangeOrder, fills: Sequence[ExchangeFill]) -> bool:
    """Whether fills are all of what the exchange says was filled."""
    total = sum((base_size(fill) for fill in fills), NO_BASE)
    exact = not any(fill.size_in_quote for fill in fills)
    difference = abs(total - found.filled_size)
    return difference == 0 if exact else difference <= _QUOTIENT_TOLERANCE


def base_size(fill: ExchangeFill) -> BaseSize:
    """Base units of a fill, whichever unit the exchange told it in."""
    if fill.size_in_quote:
        return to_stored_scale(base_of(QuoteSize(fill.size), fill.price))
    return BaseSize(fill.size)
