"""From a request to a committed intent: every reason not to trade is looked for before the order row exists.

The row, the commit of the risk engine's reservation and nothing else make one transaction under the account lock; after
it an order exists whatever happens to this process.
"""

from collections.abc import Container
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meshkit.errors import (
    Aborted,
    DeadlineTooShort,
    FailedPrecondition,
    InvalidRequest,
    RequestIdReused,
)
from svc_executor import store
from svc_executor.intent import Intent, expired, grid_violation, make_intent, request_hash
from svc_executor.product_rules import ProductRules
from svc_executor.ticket import verify
from svc_executor.wire import Execute
from tradekit.states import OrderState, Side, Venue


class Intake:
    """Writes intents. `busy` holds the orders this process is working on right now: their sends are not in doubt."""

    def __init__(
        self, engine: AsyncEngine, key: Ed25519PublicKey, rules: ProductRules, venue: Venue, busy: Container[UUID]
    ) -> None:
        self._engine = engine
        self._key = key
        self._rules = rules
        self._venue = venue
        self._busy = busy

    async def order_for(self, request: Execute) -> UUID:
        """Id of the recommendation's one order: the one there is, or a new intent. No word about either without a ticket."""
        ticket = verify(request.ticket, self._key, request.recommendation, request.size)
        async with self._engine.connect() as connection:
            known = await self._known(connection, request)
            now = await store.machine_time(connection)
        if known is not None:
            return known
        ticket.require_alive(now)
        if expired(request.recommendation, now):
            raise DeadlineTooShort(
                f"the recommendation expired at {request.recommendation.expire_time.isoformat()}", reason="EXPIRED"
            )
        await self._check_product(request)
        intent = make_intent(request.recommendation, request.size, ticket.reservation_id, self._venue, now)
        return await self._commit(request, intent)

    async def _known(self, connection: AsyncConnection, request: Execute) -> UUID | None:
        order = await store.order_of_recommendation(connection, request.recommendation.recommendation_id)
        if order is None:
            return None
        if order.request_hash != request_hash(request.recommendation, request.size):
            raise RequestIdReused(request.recommendation.recommendation_id)
        return order.order_id

    async def _check_product(self, request: Execute) -> None:
        product_id, side = request.recommendation.product_id, request.recommendation.side
        product = await self._rules.of(product_id)
        violation = grid_violation(product, side, request.size)
        if violation is not None:
            raise InvalidRequest([violation])

    async def _commit(self, request: Execute, intent: Intent) -> UUID:
        async with self._engine.begin() as connection:
            await store.lock_account(connection)
            known = await self._known(connection, request)
            if known is not None:
                return known
            if intent.side is Side.BUY:
                await self._no_doubt(connection, intent.product_id)
            _raise_unless_ok(await store.commit_reservation(connection, intent), intent)
            await store.insert_intent(connection, intent, ticket_id=str(intent.reservation_id))
        return intent.order_id

    async def _no_doubt(self, connection: AsyncConnection, product_id: str) -> None:
        for order in await store.doubtful_orders(connection, product_id):
            # A send that this process is waiting for right now is not in doubt yet.
            if order.state is not OrderState.UNKNOWN and order.order_id in self._busy:
                continue
            raise FailedPrecondition(
                "ORDER_UNKNOWN",
                f"order {order.order_id} of {product_id} has an unknown fate; entries wait for its reconciliation",
            )


def _raise_unless_ok(answer: str, intent: Intent) -> None:
    if answer == "RESERVATION_LOST":
        raise Aborted(answer, f"reservation {intent.reservation_id} is not held any more; ask for a new assessment")
    if answer == "TRADING_HALTED":
        raise FailedPrecondition(answer, f"the trading state forbids a {intent.side.value}")
    if answer != "OK":
        raise AssertionError(f"risk_commit answered {answer}")
