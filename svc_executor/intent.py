"""What is written down before anything is sent: the exact bytes of the order, and the hash of what was asked for."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from exchange_client import Bracket, ExchangeProduct, Limit, OrderTerms
from meshkit.errors import Violation
from tradekit import ids
from tradekit.decimals import plain
from tradekit.exit_plan import ExitPlan
from tradekit.products import floor_to
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import ExitTrigger, LifeClock, OrderPurpose, OrderState, OrderType, Side, Venue
from tradekit.units import BaseSize, OrderSize, Price, ProductId

# Makes the exact bytes of an order: `Exchange.body_of`.
BodyOf = Callable[[OrderTerms], str]
# In a replay the market stands still until an order is settled; this bounds only a run that nobody waits for any more.
_REPLAY_LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Protection:
    """What an order that protects a position has besides. `entry_order_id`: the newest entry, None for what was adopted.
    `trigger`: why it sells now; without one a bracket rests at the exchange, and a market order waits here."""

    entry_order_id: UUID | None
    plan: ExitPlan
    order_type: OrderType
    trigger: ExitTrigger | None

    @property
    def bracket(self) -> Bracket | None:
        """Its two prices where it rests between them."""
        rests = self.order_type is OrderType.BRACKET
        return Bracket(self.plan.stop_price, self.plan.target_price) if rests else None


@dataclass(frozen=True, slots=True)
class Intent:
    """An order before its first byte leaves. `size` is quote for BUY, base for SELL; an entry may have a limit.

    An exit may have no reservation, an operator's close and a protective order have no recommendation either; an entry always
    has both.
    """

    order_id: UUID
    recommendation_id: UUID | None
    reservation_id: UUID | None
    request_hash: str
    product_id: ProductId
    side: Side
    size: OrderSize
    body: str
    venue: Venue
    as_of: datetime
    reference_price: Price
    expire_at: datetime
    note: str = ""
    protection: Protection | None = None
    limit: Limit | None = None

    @property
    def order_type(self) -> OrderType:
        """How it trades."""
        if self.protection is not None:
            return self.protection.order_type
        if self.limit is not None:
            return OrderType.POST_ONLY if self.limit.post_only else OrderType.LIMIT
        return OrderType.MARKET

    @property
    def purpose(self) -> OrderPurpose:
        """What it is for."""
        if self.protection is not None:
            return OrderPurpose.PROTECTION
        if self.side is Side.BUY:
            return OrderPurpose.ENTRY
        return OrderPurpose.EXIT if self.recommendation_id is not None else OrderPurpose.CLOSE

    @property
    def state(self) -> OrderState:
        """The first state of its row."""
        waits = self.protection is not None and self.protection.trigger is None and self.protection.bracket is None
        return OrderState.WAITING if waits else OrderState.PENDING


def request_hash(recommendation: Recommendation, size: OrderSize) -> str:
    """sha256 of everything that makes the order; the same request under another spelling has the same hash.

    The size of an exit is the executor's own finding, so it is no part of what was asked for.
    """
    asked = terms_hash(recommendation)
    if recommendation.side is Side.BUY:
        asked += f"|{plain(size)}"
    return hashlib.sha256(asked.encode()).hexdigest()


def close_hash(order_id: UUID) -> str:
    """The same for an operator's close, whose id says everything."""
    return hashlib.sha256(f"close|{order_id}".encode()).hexdigest()


def make_intent(
    recommendation: Recommendation,
    size: OrderSize,
    reservation_id: UUID | None,
    venue: Venue,
    now: datetime,
    body_of: BodyOf,
    limit: Limit | None = None,
) -> Intent:
    """The intent of an approved recommendation at machine time `now`."""
    order_id = ids.order_id(recommendation.recommendation_id)
    by_machine = recommendation.life_clock is LifeClock.MACHINE
    return Intent(
        order_id=order_id,
        recommendation_id=recommendation.recommendation_id,
        reservation_id=reservation_id,
        request_hash=request_hash(recommendation, size),
        product_id=recommendation.product_id,
        side=recommendation.side,
        size=size,
        body=body_of(OrderTerms(order_id, recommendation.product_id, recommendation.side, size, limit=limit)),
        venue=venue,
        as_of=recommendation.as_of,
        reference_price=recommendation.reference_price,
        expire_at=recommendation.expire_time if by_machine else now + _REPLAY_LIFE,
        limit=limit,
    )


def close_intent(
    order_id: UUID,
    product_id: ProductId,
    size: BaseSize,
    venue: Venue,
    as_of: datetime,
    price: Price,
    note: str,
    body_of: BodyOf,
) -> Intent:
    """The intent of an operator's close of a position."""
    return Intent(
        order_id=order_id,
        recommendation_id=None,
        reservation_id=None,
        request_hash=close_hash(order_id),
        product_id=product_id,
        side=Side.SELL,
        size=size,
        body=body_of(OrderTerms(order_id, product_id, Side.SELL, size)),
        venue=venue,
        as_of=as_of,
        reference_price=price,
        expire_at=as_of,
        note=note,
    )


def protective_intent(
    order_id: UUID,
    product_id: ProductId,
    size: BaseSize,
    protection: Protection,
    venue: Venue,
    as_of: datetime,
    body_of: BodyOf,
) -> Intent:
    """The intent of an order that protects a position."""
    return Intent(
        order_id=order_id,
        recommendation_id=None,
        reservation_id=None,
        request_hash=hashlib.sha256(f"protection|{order_id}".encode()).hexdigest(),
        product_id=product_id,
        side=Side.SELL,
        size=size,
        body=body_of(OrderTerms(order_id, product_id, Side.SELL, size, protection.bracket)),
        venue=venue,
        as_of=as_of,
        reference_price=protection.plan.stop_price,
        expire_at=as_of,
        protection=protection,
    )


def grid_violation(product: ExchangeProduct, side: Side, size: OrderSize) -> Violation | None:
    """The rule a size breaks that the exchange would refuse: it never rounds for us."""
    increment = product.quote_increment if side is Side.BUY else product.base_increment
    if floor_to(size, increment) == size:
        return None
    return Violation("size", "OFF_GRID", f"is {plain(size)}; must be a multiple of {plain(increment)}")
