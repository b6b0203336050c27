"""The SQL of records: the orders of a batch under the account lock with what their fills move, in one statement, and everything
that the exchange's word changes in another."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from meshkit.dedicated import Connection
from schema.base import Amount, Id, Json
from schema.execution import orders
from svc_executor.ledger import Position
from svc_executor.recording import NewFill, Recording, Word
from svc_executor.store import FILLS, NOW, OrderRow, order_of_row
from tradekit.decimals import plain
from tradekit.reasons import reasons_to_json

_STORED = ", ".join(f"(found.stored).{column.name}" for column in orders.c)
_LOCK = (
    text(
        f"SELECT {_STORED}, with_booking_sequence(found.booked), clock_timestamp(), found.held, found.cost AS position_cost, "
        "found.realized_pnl AS position_pnl, found.total_fees AS position_fees, found.known "
        "FROM lock_orders(:wanted, :told) AS found"
    )
    .bindparams(bindparam("wanted", type_=ARRAY(Id)), bindparam("told", type_=ARRAY(Text)))
    .columns(
        *orders.c,
        FILLS,
        NOW,
        Column("held", Amount),
        Column("position_cost", Amount),
        Column("position_pnl", Amount),
        Column("position_fees", Amount),
        Column("known", ARRAY(Text)),
    )
)
_PARTS = ("changed", "new_fills", "entries", "positions_after")
_RECORD = (
    text(
        f"SELECT {_STORED}, with_booking_sequence(found.booked), clock_timestamp() "
        "FROM record_orders(:changed, :new_fills, :entries, :positions_after) AS found"
    )
    .bindparams(*(bindparam(name, type_=Json) for name in _PARTS))
    .columns(*orders.c, FILLS, NOW)
)


async def record(connection: Connection, words: Sequence[Word]) -> list[OrderRow]:
    """Records words about different orders, under the account lock; the orders after it, in their order."""
    told = [fill.fill_id for word in words for fill in word.fills]
    rows = (await connection.execute(_LOCK, {"wanted": [word.order_id for word in words], "told": told})).all()
    found = {row.order_id: order_of_row(row) for row in rows}
    recording = Recording(
        positions={
            row.product_id: Position(row.held, row.position_cost, row.position_pnl, row.position_fees) for row in rows
        },
        booked={fill_id for row in rows for fill_id in row.known},
    )
    for word in words:
        recording.hear(found[word.order_id], word)
    if recording.changed:
        found |= await _write(connection, recording)
    return [found[word.order_id] for word in words]


async def _write(connection: Connection, recording: Recording) -> dict[UUID, OrderRow]:
    parameters = {
        "changed": [_changed(order, settled=order.order_id in recording.settled) for order in recording.changed],
        "new_fills": [_fill(one) for one in recording.fills],
        "entries": [entry for one in recording.fills for entry in _entries(one)],
        "positions_after": [
            _position(product_id, position) for product_id, position in recording.positions_after.items()
        ],
    }
    rows = await connection.execute(_RECORD, parameters)
    return {row.order_id: order_of_row(row) for row in rows}


def _changed(order: OrderRow, *, settled: bool) -> dict[str, Any]:
    return {
        "order_id": str(order.order_id),
        "exchange_order_id": order.exchange_order_id,
        "state": order.state.value,
        "reasons": reasons_to_json(order.reasons),
        "done_at": order.done_at.isoformat() if order.done_at else None,
        "done_size": plain(order.done_size) if order.done_size is not None else None,
        "watch_until": order.watch_until.isoformat() if order.watch_until else None,
        "adopted_at": order.adopted_at.isoformat() if order.adopted_at else None,
        "updated_at": order.updated_at.isoformat() if settled else None,
    }


def _fill(one: NewFill) -> dict[str, Any]:
    fill = one.fill
    return {
        "fill_id": fill.fill_id,
        "order_id": str(one.order.order_id),
        "trade_id": fill.trade_id,
        "product_id": fill.product_id,
        "side": fill.side.value,
        "price": plain(fill.price),
        "size": plain(fill.size),
        "commission": plain(fill.commission),
        "liquidity": fill.liquidity,
        "realized_pnl": plain(one.realized),
        "trade_time": fill.trade_time.isoformat(),
        "as_of": one.as_of.isoformat(),
    }


def _entries(one: NewFill) -> list[dict[str, Any]]:
    return [
        {
            "transaction_id": one.fill.fill_id,
            "account": entry.account,
            "currency": entry.currency,
            "amount": plain(entry.amount),
            "order_id": str(one.order.order_id),
            "as_of": one.as_of.isoformat(),
        }
        for entry in one.entries
    ]


def _position(product_id: str, position: Position) -> dict[str, str]:
    return {
        "product_id": product_id,
        "base_size": plain(position.base_size),
        "cost": plain(position.cost),
        "realized_pnl": plain(position.realized_pnl),
        "total_fees": plain(position.total_fees),
    }
