"""The SQL of closes that wait: an operator wants a position sold, and no order could be made of it, or of a part, yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.base import Time
from schema.execution import waiting_closes
from tradekit.reasons import Reason, reasons_from_json, reasons_to_json
from tradekit.units import BaseSize, ProductId

_W = waiting_closes.c
_COLUMNS = (
    *(_W.order_id, _W.product_id, _W.size, _W.note, _W.reasons, _W.created_at),
    func.clock_timestamp(type_=Time).label("now"),
)


@dataclass(frozen=True, slots=True)
class WaitingClose:
    """`order_id`: of the order that it makes. `size`: what it is to sell. `reasons`: what it waited for last."""

    order_id: UUID
    product_id: ProductId
    size: BaseSize
    note: str
    reasons: tuple[Reason, ...]
    created_at: datetime
    now: datetime


async def put_off(
    connection: AsyncConnection,
    order_id: UUID,
    product_id: ProductId,
    size: BaseSize,
    note: str,
    reasons: Sequence[Reason],
) -> bool:
    """It waits from now on; one that waits already has its newest reasons. False for one that has ended."""
    told = reasons_to_json(reasons)
    row = {"order_id": order_id, "product_id": product_id, "size": size, "note": note, "reasons": told}
    statement = insert(waiting_closes).values(**row)
    newest = statement.on_conflict_do_update(
        index_elements=[_W.order_id], set_={"reasons": statement.excluded.reasons}, where=_W.ended_at.is_(None)
    )
    return (await connection.execute(newest.returning(_W.order_id))).one_or_none() is not None


async def waiting(connection: AsyncConnection) -> list[WaitingClose]:
    """Oldest first."""
    rows = await connection.execute(select(*_COLUMNS).where(_W.ended_at.is_(None)).order_by(_W.created_at))
    return [_close_of(row) for row in rows]


async def waits(connection: AsyncConnection, order_id: UUID) -> bool:
    """Whether this one still does."""
    query = select(_W.order_id).where(_W.order_id == order_id, _W.ended_at.is_(None))
    return (await connection.execute(query)).one_or_none() is not None


async def end(
    connection: AsyncConnection, *which: ColumnElement[bool], reasons: Sequence[Reason] = ()
) -> list[WaitingClose]:
    """Ends all that wait and of which all of `which` is true; without reasons they keep those of their newest try."""
    changes = {"ended_at": func.clock_timestamp(), **({"reasons": reasons_to_json(reasons)} if reasons else {})}
    statement = update(waiting_closes).where(_W.ended_at.is_(None), *which).values(**changes)
    return [_close_of(row) for row in await connection.execute(statement.returning(*_COLUMNS))]


def _close_of(row: object) -> WaitingClose:
    values = {name: getattr(row, name) for name in WaitingClose.__dataclass_fields__}
    return WaitingClose(**{**values, "reasons": reasons_from_json(values["reasons"])})
