"""The SQL of adjustments: a currency as the ledger has it, a booking with its row, and the ledger's figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToDict, ParseDict
from sqlalchemy import Select, Text, cast, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.execution import ledger_adjustments, ledger_balances, ledger_entries, reconciliations
from schema.views.shared import ADJUSTMENT_TRANSACTION, ledger_bookings
from svc_executor import account_store
from svc_executor.account_store import Balance
from svc_executor.adjustment import Booking, Kind, Standing
from tradekit.decimals import ZERO
from tradekit.ledger_accounts import EXCHANGE, UNADOPTED
from tradekit.ledger_words import MOST_ADJUSTMENTS
from tradekit.products import base_currency
from tradekit.units import ProductId, QuoteSize
from trading.executor.v1 import ledger_pb2 as pb

_RISK_TRANSFER = text("SELECT risk_transfer(:change)")


@dataclass(frozen=True, slots=True)
class Parts:
    """One currency's balance by the ledger: the mesh's own, and what was never adopted."""

    own: Decimal = ZERO
    unadopted: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Balances:
    """Every currency of which the ledger has anything, after its entry `booking_sequence`; 0 before the first."""

    parts: Mapping[str, Parts]
    booking_sequence: int


async def balances(connection: AsyncConnection) -> Balances:
    """All of it of one moment."""
    amount, account = ledger_balances.c.amount, ledger_balances.c.account
    query = (
        select(
            ledger_balances.c.currency,
            func.coalesce(func.sum(amount).filter(account == EXCHANGE), 0),
            func.coalesce(func.sum(amount).filter(account == UNADOPTED), 0),
            select(func.max(ledger_entries.c.entry_id)).scalar_subquery(),
        )
        .where(account.in_([EXCHANGE, UNADOPTED]))
        .group_by(ledger_balances.c.currency)
    )
    rows = (await connection.execute(query)).all()
    parts = {currency: Parts(own, unadopted) for currency, own, unadopted, _ in rows if own or unadopted}
    return Balances(parts, rows[0][3] if rows else 0)


async def standing(
    connection: AsyncConnection, currency: str, account_currency: str, products: Sequence[ProductId], granularity: int
) -> Standing:
    """One currency under the account lock, with the position it is traded in."""
    parts = (await balances(connection)).parts.get(currency, Parts())
    held = {stored.product_id for stored in await account_store.list_positions(connection)}
    product_id = next((name for name in (*products, *sorted(held)) if base_currency(name) == currency), None)
    if currency == account_currency or product_id is None:
        return Standing(currency, parts.own, parts.unadopted)
    mark = (await account_store.marks(connection, [product_id], granularity)).get(product_id)
    position = await account_store.read_position(connection, product_id)
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
    answer: pb.AdjustLedgerResponse

    def previewed(self, booking: Booking) -> "StoredAdjustment":
        """The adjustment as it would be stored."""
        return StoredAdjustment(
            self.adjustment_id,
            self.kind,
            self.currency,
            self.amount,
            booking.cost,
            booking.equity_change,
            self.note,
            self.caller,
        )


@dataclass(frozen=True, slots=True)
class StoredAdjustment:
    """An adjustment as it is told; without a time and a place in the ledger until it is booked."""

    adjustment_id: UUID
    kind: Kind
    currency: str
    amount: Decimal
    cost: QuoteSize
    equity_change: QuoteSize
    note: str
    caller: str
    created_at: datetime | None = None
    booking_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Booked:
    """A booked adjustment, the hash of the request that it was booked for, and what that was answered."""

    adjustment: StoredAdjustment
    body_sha256: str
    answer: pb.AdjustLedgerResponse


def _booked(row: Any) -> Booked:
    return Booked(_adjustment(row), row.body_sha256, ParseDict(row.answer, pb.AdjustLedgerResponse()))


def _adjustment(row: Any) -> StoredAdjustment:
    return StoredAdjustment(
        row.adjustment_id,
        Kind(row.kind),
        row.currency,
        row.amount,
        row.cost,
        row.equity_change,
        row.note,
        row.caller,
        row.created_at,
        row.booking_sequence,
    )


def _stored() -> Select[Any]:
    """Adjustments with their place in the order of booking."""
    table = ledger_adjustments
    transaction = ADJUSTMENT_TRANSACTION + cast(table.c.adjustment_id, Text)
    place = select(ledger_bookings.c.booking_sequence).where(ledger_bookings.c.transaction_id == transaction)
    return select(table, place.scalar_subquery().label("booking_sequence"))


async def book(connection: AsyncConnection, adjustment: Adjustment, booking: Booking) -> Booked:
    """Writes entries, position, the equity that is no gain, and the adjustment."""
    transaction = f"{ADJUSTMENT_TRANSACTION}{adjustment.adjustment_id}"
    rows = [account_store.entry_row(entry, transaction, adjustment.as_of, None) for entry in booking.entries]
    await connection.execute(insert(ledger_entries), rows)
    if booking.after.product_id and any(entry.account == EXCHANGE for entry in booking.entries):
        await account_store.save_position(connection, booking.after.product_id, booking.after.position)
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
        answer=MessageToDict(adjustment.answer, preserving_proto_field_name=True),
        note=adjustment.note,
        caller=adjustment.caller,
    )
    await connection.execute(statement)
    made = _stored().where(ledger_adjustments.c.adjustment_id == adjustment.adjustment_id)
    return _booked((await connection.execute(made)).one())


async def adjustments_of(connection: AsyncConnection, request_id: UUID) -> list[Booked]:
    """What a request booked, in the order of currencies; empty before it."""
    table = ledger_adjustments
    rows = await connection.execute(_stored().where(table.c.request_id == request_id).order_by(table.c.currency))
    return [_booked(row) for row in rows]


async def newest_adjustments(connection: AsyncConnection) -> list[StoredAdjustment]:
    """The newest ones, newest first."""
    table = ledger_adjustments
    rows = await connection.execute(_stored().order_by(table.c.created_at.desc()).limit(MOST_ADJUSTMENTS))
    return [_adjustment(row) for row in rows]


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """What the newest reconciliation found, when, and after which entry of the ledger; None: not kept then."""

    clean: bool
    balances: tuple[Balance, ...]
    created_at: datetime
    booking_sequence: int | None


async def newest_reconciliation(connection: AsyncConnection) -> StoredComparison | None:
    """The newest reconciliation, None before the first."""
    table = reconciliations
    query = select(table.c.clean, table.c.balances, table.c.created_at, table.c.booking_sequence)
    row = (await connection.execute(query.order_by(table.c.reconciliation_id.desc()).limit(1))).one_or_none()
    if row is None:
        return None
    return StoredComparison(row.clean, tuple(map(_balance, row.balances)), row.created_at, row.booking_sequence)


def _balance(stored: Mapping[str, str]) -> Balance:
    """A balance as `account_store.store_comparison` stored it; one of an earlier version has no word of adoption."""
    return Balance(
        currency=stored["currency"],
        ledger=Decimal(stored["ledger"]),
        exchange=Decimal(stored["exchange"]),
        unadopted=Decimal(stored.get("unadopted", "0")),
        tolerance=Decimal(stored.get("tolerance", "0")),
    )
