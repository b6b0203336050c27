"""From a request to a committed intent: every reason not to trade is looked for before the order row exists.

What the exchange says is asked for first. Then requests that come together share one transaction under the account lock: the
rows, the commit of the risk engine's reservations and the count of the first sends; after it an order exists whatever happens
to this process. Its send begins at the commit, whether or not its caller is still there.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from exchange_client import Exchange, ExchangeProduct, Touch
from meshkit.batch import Batches
from meshkit.dedicated import Connection, Dedicated
from meshkit.errors import Aborted, MeshError
from svc_executor import intent_store
from svc_executor.availability import Availability
from svc_executor.driver import FirstSend
from svc_executor.exchange_clock import ExchangeClock
from svc_executor.intake_decision import Asked, Decisions, KnownOrder, OrderRules, require_open
from svc_executor.intent import Intent
from svc_executor.intent_store import NewIntent
from svc_executor.product_rules import ProductRules
from svc_executor.settings import ExecutorSettings
from svc_executor.store import OrderRow
from svc_executor.ticket import Ticket, verify
from svc_executor.trading_switch import TradingSwitch
from svc_executor.wire import Execute
from tradekit import ids
from tradekit.recommendation import Recommendation
from tradekit.states import Side, TradingState
from tradekit.units import BaseSize, ProductId

# Requests of one transaction: more would only keep the account lock for longer.
_MOST_AT_ONCE = 50


class Protected(Protocol):
    """What protects positions: `svc_executor.protector.Protector`."""

    def released(self, product_id: ProductId, by: UUID) -> AbstractAsyncContextManager[bool]:
        """Inside, nothing does, unless the order `by` which it shall be sold was made before; False while the exchange has not
        ended all that did."""


class Work(Protocol):
    """The orders that this process works on right now, and the way to take more: `svc_executor.driver.OrderDriver`."""

    @property
    def busy(self) -> Container[UUID]:
        """Their ids."""

    def claims(self, order_ids: Iterable[UUID]) -> AbstractAsyncContextManager[dict[UUID, AsyncExitStack]]:
        """Orders taken to work."""


class Fees(Protocol):
    """What the exchange charges: `svc_executor.fees.FeeKeeper`."""

    @property
    def highest(self) -> Decimal:
        """The most that it may charge, share of the value."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The one order of a recommendation; `sending` where this request has made it and its first send is under way."""

    order_id: UUID
    sending: asyncio.Future[OrderRow] | None = None


# Starts a first send in its caller's context, as work that goes on to its end without the caller.
Begin = Callable[[FirstSend, contextvars.Context], asyncio.Future[OrderRow]]


@dataclass(frozen=True, slots=True)
class _Call:
    """A request and the context it came in, which its send goes on in: traces and logs belong to it."""

    asked: Asked
    context: contextvars.Context


@dataclass(frozen=True, slots=True)
class _Others:
    """Orders that somebody works on, but for those that a batch has claimed: what of these is there already, nobody does."""

    busy: Container[UUID]
    claimed: Container[UUID]

    def __contains__(self, order_id: object) -> bool:
        return order_id in self.busy and order_id not in self.claimed


@dataclass(frozen=True, slots=True)
class _Made:
    """By order id: the intents of a batch, those of them that were written, and the orders it claimed. `born`: see FirstSend."""

    intents: Mapping[UUID, Intent]
    written: Mapping[UUID, OrderRow]
    claims: Mapping[UUID, AsyncExitStack]
    born: float


@dataclass(frozen=True, slots=True)
class ExchangeFacts:
    """What of the exchange is asked for before any lock."""

    rules: ProductRules
    available: Availability
    clock: ExchangeClock
    fees: Fees


class Intake:
    """Writes intents."""

    def __init__(
        self,
        settings: ExecutorSettings,
        dedicated: Dedicated,
        key: Ed25519PublicKey,
        exchange: Exchange,
        facts: ExchangeFacts,
        switch: TradingSwitch,
        work: Work,
        begin: Begin,
        protected: Protected,
    ) -> None:
        self._settings = settings
        self._dedicated = dedicated
        self._key = key
        self._exchange = exchange
        self._facts = facts
        self._switch = switch
        self._work = work
        self._begin = begin
        self._protected = protected
        self._batches: Batches[_Call, Placed] = Batches(self._place, _MOST_AT_ONCE)

    async def order_for(self, request: Execute) -> Placed:
        """The recommendation's one order: the one there is, or a new intent. An entry hears nothing without a ticket."""
        ticket = verify(request.ticket, self._key, request.recommendation, request.size) if request.ticket else None
        item = request.recommendation
        async with self._room_for(item) as released:
            return await self._order_for(request, ticket, released)

    @asynccontextmanager
    async def _room_for(self, item: Recommendation) -> AsyncIterator[bool]:
        """An exit sells what was protected. Where none may be sent, or it was made before, what protects stays."""
        if item.side is Side.BUY or not self._switch.allows(Side.SELL):
            yield True
            return
        async with self._protected.released(item.product_id, ids.order_id(item.recommendation_id)) as released:
            yield released

    async def _order_for(self, request: Execute, ticket: Ticket | None, released: bool) -> Placed:
        item = request.recommendation
        async with asyncio.TaskGroup() as group:
            product = group.create_task(self._product(item))
            available = group.create_task(self._available(item))
            past = group.create_task(self._facts.clock.past())
            touch = group.create_task(self._touch(item))
        asked = Asked(request, ticket, product.result(), available.result(), past.result(), touch.result(), released)
        call = _Call(asked, contextvars.copy_context())
        return await self._batches.submit(call, urgent=item.side is Side.SELL)

    async def _product(self, item: Recommendation) -> ExchangeProduct | MeshError:
        """Why they could not be had is no reason to keep the order from who asks for one that there is."""
        try:
            return await self._facts.rules.of(item.product_id, item.side)
        except MeshError as error:
            return error

    async def _touch(self, item: Recommendation) -> Touch | MeshError | None:
        """The price that a limit is measured from; a market order needs none."""
        if item.side is Side.SELL or not self._settings.entry_order.rests:
            return None
        try:
            return await self._exchange.touch(item.product_id)
        except MeshError as error:
            return error

    async def _available(self, item: Recommendation) -> BaseSize | None:
        return await self._facts.available.of(item.product_id) if item.side is Side.SELL else None

    def require_open(self, stored: TradingState, side: Side) -> None:
        """TRADING_HALTED unless both the database and this process let an order of this side be sent."""
        require_open(side, stored, self._switch.in_force().state)

    # ---- one transaction ---------------------------------------------------------------------------------------------

    async def _place(self, calls: Sequence[_Call]) -> list[Placed | Exception]:
        orders = {ids.order_id(call.asked.recommendation.recommendation_id) for call in calls}
        async with self._work.claims(orders) as claims:
            # Before the sends are counted: no token of theirs lives longer after the count than a token's life.
            born = self._exchange.wall_seconds()
            async with self._dedicated.begin() as connection:
                found = await self._decide(connection, calls, _Others(self._work.busy, claims))
                new = [
                    NewIntent(one, one.order_id in claims, call.asked.past)
                    for call, one in zip(calls, found, strict=True)
                    if isinstance(one, Intent)
                ]
                written = await intent_store.write_intents(connection, new) if new else {}
            made = _Made({one.intent.order_id: one.intent for one in new}, written, claims, born)
            return [self._placed(call, one, made) for call, one in zip(calls, found, strict=True)]

    def _placed(self, call: _Call, found: Intent | KnownOrder | MeshError, made: _Made) -> Placed | Exception:
        """What a request gets, after the commit."""
        if isinstance(found, MeshError):
            return found
        if found.order_id in made.intents and found.order_id not in made.written:
            lost = made.intents[found.order_id].reservation_id
            return Aborted("RESERVATION_LOST", f"reservation {lost} is not held any more; ask for a new assessment")
        if isinstance(found, Intent) and made.written[found.order_id].sent_at is not None:
            claim = made.claims[found.order_id].pop_all()
            return Placed(
                found.order_id, self._begin(FirstSend(made.written[found.order_id], made.born, claim), call.context)
            )
        return Placed(found.order_id)

    async def _decide(
        self, connection: Connection, calls: Sequence[_Call], busy: Container[UUID]
    ) -> list[Intent | KnownOrder | MeshError]:
        wanted = [call.asked.recommendation for call in calls]
        facts = await intent_store.lock_facts(connection, wanted, self._settings.granularity_seconds)
        own = self._switch.in_force().state
        settings = self._settings
        rules = OrderRules(settings.venue, self._exchange.body_of, settings.entry_rules, self._facts.fees.highest)
        decisions = Decisions(own, busy, rules)
        found: list[Intent | KnownOrder | MeshError] = []
        for call, one in zip(calls, facts, strict=True):
            try:
                found.append(decisions.of(call.asked, one))
            except MeshError as error:
                found.append(error)
        return found
