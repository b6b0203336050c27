"""The SQL of foreign orders and of the ledger's opening."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.execution import foreign_orders, ledger_opening, orders
from svc_executor.foreign import ForeignOrder, Opening
from tradekit.states import Side
from tradekit.units import BaseSize

LEDGER_ID = "main"
_NEVER_SEEN = BaseSize(Decimal(-1))
_FIELDS = [name for name in ForeignOrder.__dataclass_fields__ if name != "side"]


async def read_opening(connection: AsyncConnection) -> Opening | None:
    """The opening, None before it."""
    query = select(ledger_opening.c.opened_at, ledger_opening.c.fills_before, ledger_opening.c.fills_seen_to)
    row = (await connection.execute(query)).one_or_none()
    return Opening(row.opened_at, frozenset(row.fills_before), row.fills_seen_to) if row else None


async def write_opening(connection: AsyncConnection, opened_at: datetime, fills_before: Iterable[str]) -> None:
    """Marks the ledger as opened; the caller holds the account lock."""
    values = {"opened_at": opened_at, "fills_before": sorted(fills_before), "fills_seen_to": opened_at}
    await connection.execute(upsert(ledger_opening).values(ledger_id=LEDGER_ID, **values))


@dataclass(frozen=True, slots=True)
class KnownOrders:
    """Exchange ids that are the mesh's own, foreign ones that rested at the last look, and what is filled of the others."""

    own: frozenset[str]
    rested: frozenset[str]
    filled: Mapping[str, BaseSize]

    def has_news(self, exchange_order_id: str, filled: BaseSize) -> bool:
        """Whether it is new, rests no longer, or has filled more than was known."""
        return exchange_order_id in self.rested or filled > self.filled.get(exchange_order_id, _NEVER_SEEN)


async def own_orders(connection: AsyncConnection, exchange_order_ids: Iterable[str]) -> frozenset[str]:
    """Those of these that are the mesh's own."""
    ids = sorted(exchange_order_ids)
    if not ids:
        return frozenset()
    found = await connection.execute(select(orders.c.exchange_order_id).where(orders.c.exchange_order_id.in_(ids)))
    return frozenset(found.scalars())


async def known_orders(connection: AsyncConnection, exchange_order_ids: Iterable[str]) -> KnownOrders:
    """What is known of these, and of the foreign orders that rested."""
    ids = list(exchange_order_ids)
    own = await own_orders(connection, ids)
    table = foreign_orders
    query = select(table.c.exchange_order_id, table.c.filled_size, table.c.resting)
    rows = (await connection.execute(query.where(or_(table.c.resting, table.c.exchange_order_id.in_(ids))))).all()
    return KnownOrders(
        own=own,
        rested=frozenset(row.exchange_order_id for row in rows if row.resting),
        filled={row.exchange_order_id: row.filled_size for row in rows},
    )


async def has_client_order(connection: AsyncConnection, client_order_id: str) -> bool:
    """Whether an intent of the mesh has this id."""
    try:
        order_id = UUID(client_order_id)
    except ValueError:
        return False
    query = select(orders.c.order_id).where(orders.c.order_id == order_id)
    return (await connection.execute(query)).first() is not None


async def save(
    connection: AsyncConnection, found: Sequence[ForeignOrder], resting: set[str], fills_seen_to: datetime
) -> None:
    """Keeps what a look found. An order that filled more than was known is not in the ledger yet."""
    table = foreign_orders
    for order in found:
        values: dict[str, Any] = asdict(order)
        order_id = values.pop("exchange_order_id")
        statement = upsert(table).values(exchange_order_id=order_id, **values)
        more = statement.excluded.filled_size > table.c.filled_size
        changes = {**values, "unbooked": or_(table.c.unbooked, more), "updated_at": func.now()}
        await connection.execute(
            statement.on_conflict_do_update(index_elements=[table.c.exchange_order_id], set_=changes)
        )
    await connection.execute(
        update(table)
        .where(table.c.resting, table.c.exchange_order_id.not_in(sorted(resting)))
        .values(resting=False, hold=0, updated_at=func.now())
    )
    opening = ledger_opening
    await connection.execute(
        update(opening).where(opening.c.fills_seen_to < fills_seen_to).values(fills_seen_to=fills_seen_to)
    )


async def live_foreign_orders(connection: AsyncConnection) -> list[ForeignOrder]:
    """Those that rest, or whose fills are not in the ledger yet; oldest first."""
    table = foreign_orders
    query = select(table).where(or_(table.c.resting, table.c.unbooked)).order_by(table.c.created_time)
    rows = await connection.execute(query)
    return [ForeignOrder(**{name: getattr(row, name) for name in _FIELDS}, side=Side(row.side)) for row in rows]


async def mark_booked(connection: AsyncConnection, exchange_order_ids: Sequence[str]) -> None:
    """The ledger agrees with the exchange in what these orders trade, so what they filled is in it."""
    if exchange_order_ids:
        await connection.execute(
            update(foreign_orders)
            .where(foreign_orders.c.exchange_order_id.in_(exchange_order_ids))
            .values(unbooked=False, updated_at=func.now())
        )
