"""The orders of recommendations, as the executor wrote them down: what a recommendation's end is held against."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.views.orchestrator import orchestrator_orders
from svc_orchestrator.steps import OrderSeen
from tradekit.reasons import reasons_from_json
from tradekit.states import OrderState


class OrderStands(Exception):
    """The recommendation has an order that says otherwise; it goes on from that order."""

    def __init__(self, order: OrderSeen) -> None:
        super().__init__(f"order {order.order_id} is {order.state.value}")
        self.order = order


async def order_of(connection: AsyncConnection, recommendation_id: UUID) -> OrderSeen | None:
    """The order of a recommendation, None if none was written down."""
    query = select(orchestrator_orders).where(orchestrator_orders.c.recommendation_id == recommendation_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return OrderSeen(row.order_id, OrderState(row.state), row.filled_size, reasons_from_json(row.reasons))
