"""From a request to a committed intent: every reason not to trade is looked for before the order row exists.

The row, the commit of the risk engine's reservation and nothing else make one transaction under the account lock; after
it an order exists whatever happens to this process. An entry needs the risk engine's ticket; an exit does not: it sells
at most what the ledger holds and the exchange has free.
"""

from collections.abc import Container
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from exchange_client import ExchangeProduct
from meshkit.errors import (
    Aborted,
    DeadlineTooShort,
    FailedPrecondition,
    InvalidRequest,
    RequestIdReused,
)
from schema.clocks import Clocks, read_clocks
from schema.recommendation_terms import matching
from svc_executor import store
from svc_executor.availability import Availability
from svc_executor.intent import BodyOf, Intent, grid_violation, make_intent, request_hash
from svc_executor.product_rules import ProductRules
from svc_executor.reduce import reduce_only
from svc_executor.settings import ExecutorSettings
from svc_executor.store import OrderRow
from svc_executor.ticket import Ticket, TicketRefused, verify
from svc_executor.trading_switch import TradingSwitch
from svc_executor.wire import Execute
from tradekit.recommendation import Recommendation
from tradekit.states import OrderState, Side, TradingState
from tradekit.units import OrderSize, ProductId


class Intake:
    """Writes intents. `busy` holds the orders this process is working on right now: their sends are not in doubt."""

    def __init__(
        self,
        settings: ExecutorSettings,
        engine: AsyncEngine,
        key: Ed25519PublicKey,
        rules: ProductRules,
        available: Availability,
        switch: TradingSwitch,
        busy: Container[UUID],
        body_of: BodyOf,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._key = key
        self._rules = rules
        self._available = available
        self._switch = switch
        self._busy = busy
        self._body_of = body_of

    async def order_for(self, request: Execute) -> UUID:
        """Id of the recommendation's one order: the one there is, or a new intent. An entry hears nothing without a
        ticket."""
        ticket = verify(request.ticket, self._key, request.recommendation, request.size) if request.ticket else None
        async with self._engine.connect() as connection:
            known = await self._known(connection, request)
            if known is not None:
                return known
            clocks = await read_clocks(connection)
            now = clocks.machine
        product = await self._rules.of(request.recommendation.product_id, request.recommendation.side)
        if request.recommendation.side is Side.SELL:
            return await self._exit(request, ticket if ticket and now < ticket.expires_at else None, product)
        return await self._entry(request, ticket, product, clocks)

    async def _known(self, connection: AsyncConnection, request: Execute) -> UUID | None:
        order = await store.order_of_recommendation(connection, request.recommendation.recommendation_id)
        return self._same(order, request) if order is not None else None

    def _same(self, order: OrderRow, request: Execute) -> UUID:
        if order.request_hash != request_hash(request.recommendation, request.size):
            raise RequestIdReused(request.recommendation.recommendation_id)
        return order.order_id

    # ---- entries -----------------------------------------------------------------------------------------------------

    async def _entry(self, request: Execute, ticket: Ticket | None, product: ExchangeProduct, clocks: Clocks) -> UUID:
        now = clocks.machine
        if ticket is None:
            raise TicketRefused("is missing")
        ticket.require_alive(now)
        life = request.recommendation.life_at(now, clocks.market)
        life.require_known()
        if life.is_over:
            raise DeadlineTooShort(
                f"the recommendation expired at {request.recommendation.expire_time.isoformat()}", reason="EXPIRED"
            )
        violation = grid_violation(product, Side.BUY, request.size)
        if violation is not None:
            raise InvalidRequest([violation])
        intent = self._intent(request.recommendation, request.size, ticket, now)
        async with self._engine.begin() as connection:
            self.require_open(await store.lock_account(connection), Side.BUY)
            known = await self._known(connection, request)
            if known is not None:
                return known
            await _require_stored(connection, request.recommendation)
            await self._no_doubt(connection, intent.product_id)
            if not await store.commit_reservation(connection, intent):
                raise Aborted(
                    "RESERVATION_LOST",
                    f"reservation {intent.reservation_id} is not held any more; ask for a new assessment",
                )
            await store.insert_intent(connection, intent)
        return intent.order_id

    async def _no_doubt(self, connection: AsyncConnection, product_id: ProductId) -> None:
        for order in await store.doubtful_orders(connection, product_id):
            # A send that this process is waiting for right now is not in doubt yet.
            if order.state is not OrderState.UNKNOWN and order.order_id in self._busy:
                continue
            raise FailedPrecondition(
                "ORDER_UNKNOWN",
                f"order {order.order_id} of {product_id} is UNKNOWN; entries wait for its reconciliation",
            )

    # ---- exits -------------------------------------------------------------------------------------------------------

    async def _exit(self, request: Execute, ticket: Ticket | None, product: ExchangeProduct) -> UUID:
        """Reduce-only. A ticket that still holds lends its size and commits its reservation; without one it goes too."""
        item = request.recommendation
        available = await self._available.of(item.product_id)
        async with self._engine.begin() as connection:
            self.require_open(await store.lock_account(connection), Side.SELL)
            known = await self._known(connection, request)
            if known is not None:
                return known
            await _require_stored(connection, item)
            holding = await store.holding(connection, item.product_id, self._settings.granularity_seconds)
            size = reduce_only(request.base_size, holding, available, product)
            now = (await read_clocks(connection)).machine
            intent = self._intent(item, size, ticket, now)
            if ticket and not await store.commit_reservation(connection, intent):
                # Risk's word came to nothing meanwhile; the ledger's word is enough to get out.
                intent = self._intent(item, size, None, now)
            await store.insert_intent(connection, intent)
        return intent.order_id

    def _intent(self, item: Recommendation, size: OrderSize, ticket: Ticket | None, now: datetime) -> Intent:
        reservation_id = ticket.reservation_id if ticket else None
        return make_intent(item, size, reservation_id, self._settings.venue, now, self._body_of)

    def require_open(self, stored: TradingState, side: Side) -> None:
        """TRADING_HALTED unless both the database and this process let an order of this side be sent."""
        for state in (stored, self._switch.in_force().state):
            if not state.allows(side):
                raise FailedPrecondition("TRADING_HALTED", f"trading is {state.value}; it forbids a {side.value}")


async def _require_stored(connection: AsyncConnection, recommendation: Recommendation) -> None:
    """Only what is stored, as it is stored, becomes an order, and only while it has not ended: it cannot end before this
    transaction does. NotFound, TERMS_DIFFER, EXPIRED."""
    stored = matching(await store.lock_terms(connection, recommendation.recommendation_id), recommendation)
    if not stored.is_open:
        raise DeadlineTooShort(f"the recommendation has ended: {stored.state.value}", reason="EXPIRED")
