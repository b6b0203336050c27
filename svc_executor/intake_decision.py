"""Whether a request becomes an order, and which: one request after the other, each knowing what those before it in its batch
became, so that a batch decides exactly what one transaction for each of them would.

Every reason not to trade is looked for here. An entry needs the risk engine's ticket; an exit does not: it sells at most what
the ledger holds and the exchange has free.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from exchange_client import ExchangeProduct, Limit, Touch
from meshkit.errors import (
    DeadlineTooShort,
    FailedPrecondition,
    InvalidRequest,
    MeshError,
    RequestIdReused,
    Unavailable,
)
from schema.clocks import Clocks
from schema.recommendation_terms import StoredTerms, matching
from svc_executor.entry_order import EntryRules, limit_of
from svc_executor.holding import Holding
from svc_executor.intent import BodyOf, Intent, grid_violation, make_intent, request_hash
from svc_executor.reduce import left_to_sell, reduce_only
from svc_executor.ticket import Ticket, TicketRefused
from svc_executor.wire import Execute
from tradekit.life import Life
from tradekit.recommendation import Recommendation
from tradekit.sizes import NO_BASE, base_size, quote_size
from tradekit.states import OrderType, Side, TradingState, Venue
from tradekit.units import BaseSize, OrderSize, ProductId


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with what was found out for it without a lock. `ticket` fits, but may be over. `product`: its rules, or why
    they could not be had; `available` None: the exchange did not say. `past`: a time of the exchange before now. `touch`: of an
    entry with a limit, or why it could not be had; None where nobody bids. `released`: no protective order holds any of it."""

    request: Execute
    ticket: Ticket | None
    product: ExchangeProduct | MeshError
    available: BaseSize | None
    past: datetime | None
    touch: Touch | MeshError | None = None
    released: bool = True

    @property
    def recommendation(self) -> Recommendation:
        return self.request.recommendation


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """The one order of a recommendation, and the hash of what it was asked for."""

    order_id: UUID
    request_hash: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says of a request under the account lock. `unknown` are orders of its product in state UNKNOWN,
    `unanswered` those with a send that nothing is known of yet. The price in `holding` is that of exits."""

    trading: TradingState
    clocks: Clocks
    known: KnownOrder | None
    terms: StoredTerms | None
    unknown: tuple[UUID, ...]
    unanswered: tuple[UUID, ...]
    holding: Holding


@dataclass(frozen=True, slots=True)
class OrderRules:
    """What every order of this executor has in common. `fee`: the highest that may be charged, share of the value."""

    venue: Venue
    body_of: BodyOf
    entries: EntryRules
    fee: Decimal


class Decisions:
    """Of one batch. `own`: the trading state as this process knows it. `busy`: the orders it works on right now, whose sends
    are not in doubt."""

    def __init__(self, own: TradingState, busy: Container[UUID], rules: OrderRules) -> None:
        self._own = own
        self._busy = busy
        self._rules = rules
        self._made: dict[UUID, KnownOrder] = {}
        self._selling: dict[ProductId, BaseSize] = {}

    def of(self, asked: Asked, facts: Facts) -> Intent | KnownOrder:
        """A new intent, or the order there is. MeshError: neither, and why."""
        item = asked.recommendation
        known = facts.known or self._made.get(item.recommendation_id)
        if known is not None:
            return _same(known, asked.request)
        if isinstance(asked.product, MeshError):
            raise asked.product
        if item.side is Side.BUY:
            intent = self._entry(asked, facts, asked.product)
        else:
            intent = self._exit(asked, facts, asked.product)
            self._selling[item.product_id] = self._sold(item.product_id) + base_size(Side.SELL, intent.size)
        self._made[item.recommendation_id] = KnownOrder(intent.order_id, intent.request_hash)
        return intent

    def _entry(self, asked: Asked, facts: Facts, product: ExchangeProduct) -> Intent:
        item, now = asked.recommendation, facts.clocks.machine
        if asked.ticket is None:
            raise TicketRefused("is missing")
        asked.ticket.require_alive(now)
        life = item.life_at(now, facts.clocks.market)
        life.require_known()
        if life.is_over:
            raise DeadlineTooShort(f"the recommendation expired at {item.expire_time.isoformat()}", reason="EXPIRED")
        violation = grid_violation(product, Side.BUY, asked.request.size)
        if violation is not None:
            raise InvalidRequest([violation])
        require_open(Side.BUY, facts.trading, self._own)
        _require_stored(facts.terms, item)
        self._no_doubt(facts, item.product_id)
        return self._intent(item, asked.request.size, asked.ticket, now, self._limit(asked, life, product))

    def _limit(self, asked: Asked, life: Life, product: ExchangeProduct) -> Limit | None:
        rules, touch = self._rules.entries, asked.touch
        if rules.order_type is OrderType.MARKET:
            return None
        if isinstance(touch, MeshError):
            raise touch
        if touch is None or life.now is None:
            raise Unavailable("STALE_DATA", f"nobody bids for {product.product_id}, so there is no price to rest at")
        left = asked.recommendation.expire_time - life.now
        return limit_of(quote_size(Side.BUY, asked.request.size), touch, product, self._rules.fee, left, rules)

    def _no_doubt(self, facts: Facts, product_id: ProductId) -> None:
        # A send that this process is waiting for right now is not in doubt yet.
        for order_id in (*facts.unknown, *(one for one in facts.unanswered if one not in self._busy)):
            raise FailedPrecondition(
                "ORDER_UNKNOWN", f"order {order_id} of {product_id} is UNKNOWN; entries wait for its reconciliation"
            )

    def _exit(self, asked: Asked, facts: Facts, product: ExchangeProduct) -> Intent:
        """Reduce-only. A ticket that still holds lends its size and commits its reservation; without one it goes too."""
        item, now = asked.recommendation, facts.clocks.machine
        require_open(Side.SELL, facts.trading, self._own)
        _require_stored(facts.terms, item)
        sold = self._sold(item.product_id)
        holding = replace(facts.holding, selling=facts.holding.selling + sold)
        # What was free at the exchange was asked for before the exits of this batch could take of it.
        available = None if asked.available is None else max(asked.available - sold, NO_BASE)
        size = reduce_only(asked.request.base_size, holding, available, product)
        if not asked.released and left_to_sell(asked.request.base_size, size, holding, product) > 0:
            # Its one order would sell a part, and nobody would ask for the rest.
            raise FailedPrecondition(
                "NOTHING_AVAILABLE",
                f"what protects {item.product_id} holds a part of it and is not cancelled yet; ask again",
            )
        ticket = asked.ticket if asked.ticket and now < asked.ticket.expires_at else None
        return self._intent(item, size, ticket, now)

    def _sold(self, product_id: ProductId) -> BaseSize:
        """What exits of this batch sell."""
        return self._selling.get(product_id, NO_BASE)

    def _intent(
        self, item: Recommendation, size: OrderSize, ticket: Ticket | None, now: datetime, limit: Limit | None = None
    ) -> Intent:
        reservation = ticket.reservation_id if ticket else None
        return make_intent(item, size, reservation, self._rules.venue, now, self._rules.body_of, limit)


def require_open(side: Side, *states: TradingState) -> None:
    """TRADING_HALTED unless the trading state lets an order of this side be sent, wherever it is known from."""
    for state in states:
        if not state.allows(side):
            raise FailedPrecondition("TRADING_HALTED", f"trading is {state.value}; it forbids a {side.value}")


def _same(known: KnownOrder, request: Execute) -> KnownOrder:
    if known.request_hash != request_hash(request.recommendation, request.size):
        raise RequestIdReused(request.recommendation.recommendation_id)
    return known


def _require_stored(stored: StoredTerms | None, recommendation: Recommendation) -> None:
    """Only what is stored, as it is stored, becomes an order, and only while it has not ended: it cannot end before this
    transaction does. NotFound, TERMS_DIFFER, EXPIRED."""
    found = matching(stored, recommendation)
    if not found.is_open:
        raise DeadlineTooShort(f"the recommendation has ended: {found.state.value}", reason="EXPIRED")
