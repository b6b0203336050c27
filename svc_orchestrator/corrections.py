"""Corrects what ended before its order was found.

An order that was taken for never sent is searched for at the exchange for a day, and adopted if it turns up. Its
recommendation had ended by then; it is set to what the order says, with an event that says why.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit
from schema.recommendations import trade_recommendations
from schema.views.orchestrator import orchestrator_orders
from svc_orchestrator.orders import order_of
from svc_orchestrator.steps import Terminal, after_order
from svc_orchestrator.transitions import Transition, write_transition
from tradekit.reasons import Reason
from tradekit.states import ORDER_TERMINAL, RecommendationState

INTERVAL_SECONDS = 5.0
# Longer than an order without a known end is searched for.
LOOK_BACK = timedelta(days=2)
_T = trade_recommendations
_ENDED_EMPTY = [
    state.value for state in (RecommendationState.REJECTED, RecommendationState.EXPIRED, RecommendationState.FAILED)
]


async def contradicted(connection: AsyncConnection) -> list[UUID]:
    """Recommendations that ended with nothing bought or sold, and whose order was filled."""
    query = (
        select(_T.c.recommendation_id)
        .join(orchestrator_orders, orchestrator_orders.c.recommendation_id == _T.c.recommendation_id)
        .where(
            orchestrator_orders.c.updated_at > func.now() - LOOK_BACK,
            orchestrator_orders.c.filled_size > 0,
            orchestrator_orders.c.state.in_([state.value for state in ORDER_TERMINAL]),
            _T.c.state.in_(_ENDED_EMPTY),
        )
    )
    return list((await connection.execute(query)).scalars())


async def correct(connection: AsyncConnection, recommendation_id: UUID) -> Terminal | None:
    """Sets one to what its order says; None if another has done so."""
    query = select(_T.c.state, _T.c.as_of).where(_T.c.recommendation_id == recommendation_id).with_for_update()
    row = (await connection.execute(query)).one()
    order = await order_of(connection, recommendation_id)
    found = after_order(order, 0) if order else None
    if order is None or not isinstance(found, Terminal) or row.state not in _ENDED_EMPTY:
        return None
    adopted = Reason("ORDER_ADOPTED", observed=f"was {row.state}", scope=f"order:{order.order_id}")
    end = replace(found, reasons=(adopted, *found.reasons))
    was = RecommendationState(row.state)
    change = Transition(
        recommendation_id, was, end.state, end.decided_by, end.reasons, row.as_of, order_id=order.order_id
    )
    await write_transition(connection, change)
    return end


async def run(kit: Kit[Any], outages: Callable[[str], AbstractContextManager[None]]) -> None:
    """Looks every few seconds, for ever."""
    while True:
        with outages("correct"):
            async with kit.engine.connect() as connection:
                found = await contradicted(connection)
            for item in found:
                async with kit.engine.begin() as connection:
                    end = await correct(connection, item)
                if end is not None:
                    kit.log.warning("recommendation_corrected", recommendation_id=str(item), to_state=end.state.value)
        await asyncio.sleep(INTERVAL_SECONDS)
