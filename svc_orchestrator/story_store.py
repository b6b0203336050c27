"""The SQL of a story: the rows of every stage about one recommendation, signal or order."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.recommendation_rows import StoredRecommendation, stored_of_row
from schema.recommendations import recommendation_events, trade_recommendations
from schema.views.orchestrator import (
    orchestrator_assessments,
    orchestrator_fills,
    orchestrator_orders,
    orchestrator_signal_outcomes,
    orchestrator_signals,
    orchestrator_validations,
)
from svc_orchestrator.story_rows import (
    AssessmentRow,
    EventRow,
    FillRow,
    OrderRow,
    OutcomeRow,
    ReviewRow,
    SignalRow,
    StoryRows,
)
from tradekit import ids
from tradekit.reasons import reasons_from_json
from tradekit.states import OrderPurpose, Side

T = TypeVar("T")


async def of_recommendation(connection: AsyncConnection, recommendation_id: UUID) -> StoryRows | None:
    """Everything about a recommendation; None if there is no such one."""
    found = await _recommendation(connection, recommendation_id)
    if found is None:
        return None
    signal = await _signal(connection, found.signal_id) if found.signal_id is not None else None
    own = await _orders(connection, "recommendation_id", recommendation_id)
    # What protected the position that it opened, and what sold it, belong to its story.
    protections = [late for order in own for late in await _orders(connection, "entry_order_id", order.order_id)]
    orders = (*own, *protections, *await _sale(connection, own, protections))
    return StoryRows(
        recommendation=found,
        signal=signal,
        outcome=await _outcome(connection, signal) if signal else None,
        reviews=await _about(connection, ReviewRow, orchestrator_validations, recommendation_id, "review_id"),
        assessments=await _about(connection, AssessmentRow, orchestrator_assessments, recommendation_id, "attempt"),
        orders=orders,
        fills=await _fills(connection, orders),
        events=await _about(connection, EventRow, recommendation_events, recommendation_id, "sequence"),
    )


async def of_signal(connection: AsyncConnection, signal_id: UUID) -> StoryRows | None:
    """Everything about a signal and what became of it; None if there is no such one."""
    signal = await _signal(connection, signal_id)
    if signal is None:
        return None
    story = await of_recommendation(connection, ids.recommendation_id_of_signal(signal_id))
    return story or StoryRows(signal=signal, outcome=await _outcome(connection, signal))


async def of_order(connection: AsyncConnection, order_id: UUID) -> StoryRows | None:
    """Everything about an order's recommendation, or its entry's where it protects one; else about the order. None if there is
    no such order."""
    orders = await _orders(connection, "order_id", order_id)
    if not orders:
        return None
    if orders[0].entry_order_id is not None:
        return await of_order(connection, orders[0].entry_order_id)
    recommendation_id = orders[0].recommendation_id
    if recommendation_id is not None:
        return await of_recommendation(connection, recommendation_id)
    return StoryRows(orders=orders, fills=await _fills(connection, orders))


async def _recommendation(connection: AsyncConnection, recommendation_id: UUID) -> StoredRecommendation | None:
    query = select(trade_recommendations).where(trade_recommendations.c.recommendation_id == recommendation_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return stored_of_row(row) if row is not None else None


async def _signal(connection: AsyncConnection, signal_id: UUID) -> SignalRow | None:
    table = orchestrator_signals
    found = await _rows(connection, SignalRow, table, table.c.signal_id == signal_id)
    return found[0] if found else None


async def _outcome(connection: AsyncConnection, signal: SignalRow) -> OutcomeRow | None:
    table = orchestrator_signal_outcomes
    found = await _rows(connection, OutcomeRow, table, table.c.signal_id == signal.signal_id)
    return found[0] if found else None


async def _orders(connection: AsyncConnection, column: str, value: UUID) -> tuple[OrderRow, ...]:
    table = orchestrator_orders
    return await _rows(connection, OrderRow, table, table.c[column] == value, table.c.created_at)


async def _sale(
    connection: AsyncConnection, own: Sequence[OrderRow], protections: Sequence[OrderRow]
) -> tuple[OrderRow, ...]:
    """The first sale of the product after an entry that its own protective orders did not sell; an exit and a close sell all
    that is held, whichever entry it came from."""
    bought = [order for order in own if order.side == Side.BUY and order.filled_size > 0]
    sold = sum(order.filled_size for order in protections)
    if not bought or sold >= sum(order.filled_size for order in bought):
        return ()
    table, entry = orchestrator_orders, bought[-1]
    later = (table.c.product_id == entry.product_id) & (table.c.side == Side.SELL) & (table.c.filled_size > 0)
    condition = later & (table.c.created_at > entry.created_at) & (table.c.purpose != OrderPurpose.PROTECTION)
    return await _rows(connection, OrderRow, table, condition, table.c.created_at, limit=1)


async def _fills(connection: AsyncConnection, orders: Sequence[OrderRow]) -> tuple[FillRow, ...]:
    table, order_ids = orchestrator_fills, [order.order_id for order in orders]
    return await _rows(connection, FillRow, table, table.c.order_id.in_(order_ids), table.c.trade_time, table.c.fill_id)


async def _about(
    connection: AsyncConnection, kind: type[T], table: Table, recommendation_id: UUID, order: str
) -> tuple[T, ...]:
    return await _rows(connection, kind, table, table.c.recommendation_id == recommendation_id, table.c[order])


async def _rows(
    connection: AsyncConnection, kind: type[T], table: Table, condition: Any, *order: Any, limit: int | None = None
) -> tuple[T, ...]:
    """Rows as a dataclass whose fields are columns of the table; stored reasons become reasons."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    query = select(*(table.c[name] for name in names)).where(condition).order_by(*order).limit(limit)
    found = []
    for row in (await connection.execute(query)).mappings():
        values: dict[str, Any] = dict(row)
        if "reasons" in values:
            values["reasons"] = reasons_from_json(values["reasons"])
        found.append(kind(**values))
    return tuple(found)
