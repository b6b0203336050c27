"""The SQL of adjustments: a currency as the ledger has it, a booking with its row, and what is told of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.books import ledger_adjustments, ledger_entries, reconciliations
from svc_executor import books_store
from svc_executor.adjustment import Booking, Kind, Standing
from svc_executor.books import EXCHANGE, UNADOPTED
from tradekit.decimals import ZERO
from tradekit.products import base_currency

_RISK_TRANSFER = text("SELECT risk_transfer(:change)")
NEWEST = 50


@dataclass(frozen=True, slots=True)
class Parts:
    """One currency's balance by the ledger: the mesh's own, and what was never adopted."""

    own: Decimal = ZERO
    unadopted: Decimal = ZERO


async def balances(connection: AsyncConnection) -> dict[str, Parts]:
    """Every currency of which the ledger has anything."""
    amount, account = ledger_entries.c.amount, ledger_entries.c.account
    query = (
        select(
            ledger_entries.c.currency,
            func.coalesce(func.sum(amount).filter(account == EXCHANGE), 0),
            func.coalesce(func.sum(amount).filter(account == UNADOPTED), 0),
        )
        .where(account.in_([EXCHANGE, UNADOPTED]))
        .group_by(ledger_entries.c.currency)
    )
    rows = await connection.execute(query)
    return {currency: Parts(own, unadopted) for currency, own, unadopted in rows if own or unadopted}


async def standing(
    connection: AsyncConnection, currency: str, account_currency: str, products: Sequence[str], granularity: int
) -> Standing:
    """One currency under the account lock, with the position it is traded in."""
    parts = (await balances(connection)).get(currency, Parts())
    held = {row.product_id for row in await books_store.list_positions(connection)}
    product_id = next((name for name in (*products, *sorted(held)) if base_currency(name) == currency), "")
    if currency == account_currency or not product_id:
        return Standing(currency, parts.own, parts.unadopted)
    mark = (await books_store.marks(connection, [product_id], granularity)).get(product_id)
    position = await books_store.read_position(connection, product_id)
    return Standing(currency, parts.own, parts.unadopted, product_id, position, mark)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is written of an adjustment beside its entries."""

    adjustment_id: UUID
    request_id: UUID
    body_sha256: str
    kind: Kind
    currency: str
    amount: Decimal
    note: str
    caller: str
    as_of: datetime
    answer: Mapping[str, Any]

    def previewed(self, booking: Booking) -> "AdjustmentView":
        """The adjustment as it would be told."""
        return AdjustmentView(
            self.adjustment_id,
            self.kind.value,
            self.currency,
            self.amount,
            booking.cost,
            booking.equity_change,
            self.note,
            self.caller,
        )


@dataclass(frozen=True, slots=True)
class AdjustmentView:
    """The told part of an adjustment's row; without a time until it is booked."""

    adjustment_id: UUID
    kind: str
    currency: str
    amount: Decimal
    cost: Decimal
    equity_change: Decimal
    note: str
    caller: str
    created_at: datetime | None = None


async def book(connection: AsyncConnection, adjustment: Adjustment, booking: Booking) -> Any:
    """Writes entries, position, the equity that is no gain, and the adjustment's row, which it gives."""
    transaction = f"adjustment:{adjustment.adjustment_id}"
    rows = [books_store.entry_row(entry, transaction, adjustment.as_of, None) for entry in booking.entries]
    await connection.execute(insert(ledger_entries), rows)
    if booking.after.product_id and any(entry.account == EXCHANGE for entry in booking.entries):
        await books_store.save_position(connection, booking.after.product_id, booking.after.position)
    if booking.equity_change:
        await connection.execute(_RISK_TRANSFER, {"change": booking.equity_change})
    statement = insert(ledger_adjustments).values(
        adjustment_id=adjustment.adjustment_id,
        request_id=adjustment.request_id,
        body_sha256=adjustment.body_sha256,
        kind=adjustment.kind.value,
        currency=adjustment.currency,
        amount=adjustment.amount,
        cost=booking.cost,
        equity_change=booking.equity_change,
        answer=dict(adjustment.answer),
        note=adjustment.note,
        caller=adjustment.caller,
    )
    return (await connection.execute(statement.returning(ledger_adjustments))).one()


async def adjustments_of(connection: AsyncConnection, request_id: UUID) -> Sequence[Any]:
    """What a request booked, in the order of currencies; empty before it."""
    table = ledger_adjustments
    return (
        await connection.execute(select(table).where(table.c.request_id == request_id).order_by(table.c.currency))
    ).all()


async def newest_adjustments(connection: AsyncConnection) -> Sequence[Any]:
    """The newest ones, newest first."""
    table = ledger_adjustments
    return (await connection.execute(select(table).order_by(table.c.created_at.desc()).limit(NEWEST))).all()


async def newest_reconciliation(connection: AsyncConnection) -> Any | None:
    """The row of the newest reconciliation, None before the first."""
    table = reconciliations
    query = select(table).order_by(table.c.reconciliation_id.desc()).limit(1)
    return (await connection.execute(query)).one_or_none()
