"""Corrects recommendations that ended before their order turned up.

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

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit
from svc_orchestrator import store
from svc_orchestrator.steps import Terminal, after_order
from svc_orchestrator.transitions import LeaseLost, Transition, change_state
from tradekit.reasons import Reason
from tradekit.states import RecommendationState

INTERVAL_SECONDS = 5.0
# Longer than an order without a known end is searched for.
LOOK_BACK = timedelta(days=2)
_ENDED_EMPTY = (RecommendationState.REJECTED, RecommendationState.EXPIRED, RecommendationState.FAILED)


async def correct(connection: AsyncConnection, recommendation_id: UUID) -> Terminal | None:
    """Sets one to what its order says; None if another has done so."""
    stored = await store.lock_recommendation(connection, recommendation_id)
    order = await store.order_of(connection, recommendation_id)
    found = after_order(order, 0) if order else None
    if stored is None or order is None or not isinstance(found, Terminal) or stored.state not in _ENDED_EMPTY:
        return None
    adopted = Reason("ORDER_ADOPTED", observed=f"was {stored.state.value}", scope=f"order:{order.order_id}")
    end = replace(found, reasons=(adopted, *found.reasons))
    as_of = stored.recommendation.as_of
    change = Transition(
        recommendation_id, stored.state, end.state, end.decided_by, end.reasons, as_of, order_id=order.order_id
    )
    try:
        await change_state(connection, None, change)
    except LeaseLost:
        return None
    return end


async def run(kit: Kit[Any], outages: Callable[[str], AbstractContextManager[None]]) -> None:
    """Looks every few seconds, for ever."""
    while True:
        with outages("correct"):
            async with kit.autocommit.connect() as connection:
                found = await store.ended_without_its_order(connection, _ENDED_EMPTY, LOOK_BACK)
            for item in found:
                async with kit.engine.begin() as connection:
                    end = await correct(connection, item)
                if end is not None:
                    kit.log.warning("recommendation_corrected", recommendation_id=str(item), to_state=end.state.value)
        await asyncio.sleep(INTERVAL_SECONDS)
