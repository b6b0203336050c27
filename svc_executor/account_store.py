"""The SQL of the account: its entries and positions, opening, balances, comparisons."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.execution import ledger_entries, positions, reconciliations
from schema.views.executor import executor_latest_closes
from svc_executor import foreign_store, ledger, store
from svc_executor.foreign import ForeignOrder
from svc_executor.ledger import Entry, Position
from svc_executor.protection_step import Standing
from tradekit.decimals import CONTEXT, ZERO, plain
from tradekit.units import Price, ProductId


def entry_row(entry: Entry, transaction_id: str, as_of: datetime, order_id: UUID | None) -> dict[str, Any]:
    """A line of the ledger as it is stored."""
    return {
        "transaction_id": transaction_id,
        "account": entry.account,
        "currency": entry.currency,
        "amount": entry.amount,
        "order_id": order_id,
        "as_of": as_of,
    }


async def read_position(connection: AsyncConnection, product_id: ProductId) -> Position:
    """What is held of a product, locked until the transaction ends; an empty one if there never was any."""
    query = select(positions.c.base_size, positions.c.cost, positions.c.realized_pnl, positions.c.total_fees).where(
        positions.c.product_id == product_id
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return Position(*row) if row else Position()


async def save_position(connection: AsyncConnection, product_id: ProductId, position: Position) -> None:
    """Writes what is held of a product."""
    values = {
        "base_size": position.base_size,
        "cost": position.cost,
        "realized_pnl": position.realized_pnl,
        "total_fees": position.total_fees,
    }
    statement = upsert(positions).values(product_id=product_id, **values)
    statement = statement.on_conflict_do_update(
        index_elements=[positions.c.product_id], set_={**values, "updated_at": func.now()}
    )
    await connection.execute(statement)


# ---- opening ---------------------------------------------------------------------------------------------------------


async def is_open(connection: AsyncConnection) -> bool:
    """Whether the ledger has been opened; an empty account's has no entries."""
    return await foreign_store.read_opening(connection) is not None


async def open_ledger(
    connection: AsyncConnection, entries: Sequence[Entry], opened_at: datetime, fills_before: Iterable[str]
) -> bool:
    """Writes the opening entries once; False if the ledger was open already."""
    await store.lock_account(connection)
    if await is_open(connection):
        return False
    await foreign_store.write_opening(connection, opened_at, fills_before)
    rows = [entry_row(entry, ledger.OPENING_TRANSACTION, opened_at, None) for entry in entries]
    if rows:
        await connection.execute(insert(ledger_entries), rows)
    return True


# ---- balances --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Balance:
    """One currency by the ledger and by the exchange; `ledger` holds what was never adopted as well."""

    currency: str
    ledger: Decimal
    exchange: Decimal
    unadopted: Decimal = ZERO
    tolerance: Decimal = ZERO

    @property
    def difference(self) -> Decimal:
        """What the ledger has too much."""
        with localcontext(CONTEXT):
            return self.ledger - self.exchange

    @property
    def agrees(self) -> bool:
        """Whether the difference counts as none."""
        return abs(self.difference) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of one reconciliation; `booking_sequence` is the ledger's newest entry that is in it."""

    orders_checked: int
    orders_settled: int
    orders_unknown: int
    balances: tuple[Balance, ...]
    at: datetime
    booking_sequence: int
    foreign: tuple[ForeignOrder, ...] = ()

    def of(self, currency: str) -> Balance:
        """One currency's balance; equal and empty where nobody has any."""
        empty = Balance(currency, ZERO, ZERO)
        return next((balance for balance in self.balances if balance.currency == currency), empty)

    @property
    def clean(self) -> bool:
        return self.orders_unknown == 0 and all(balance.agrees for balance in self.balances)


async def store_comparison(connection: AsyncConnection, comparison: Comparison) -> None:
    """Keeps a reconciliation; the risk engine reads the newest."""
    balances = [
        {
            "currency": balance.currency,
            "ledger": plain(balance.ledger),
            "exchange": plain(balance.exchange),
            "difference": plain(balance.difference),
            "unadopted": plain(balance.unadopted),
            "tolerance": plain(balance.tolerance),
        }
        for balance in comparison.balances
    ]
    # One every few seconds: what is older than a week explains nothing that the newer ones do not.
    old = func.now() - func.make_interval(0, 0, 1)
    new = insert(reconciliations).values(
        clean=comparison.clean,
        orders_checked=comparison.orders_checked,
        orders_settled=comparison.orders_settled,
        orders_unknown=comparison.orders_unknown,
        balances=balances,
        booking_sequence=comparison.booking_sequence,
    )
    await connection.execute(new.add_cte(delete(reconciliations).where(reconciliations.c.created_at < old).cte("old")))


# ---- positions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """A position, when it changed last, and what protects it where that was read as well."""

    product_id: ProductId
    position: Position
    updated_at: datetime
    orders: tuple[Standing, ...] = ()


async def list_positions(connection: AsyncConnection) -> list[StoredPosition]:
    """All positions, by product."""
    rows = await connection.execute(select(positions).order_by(positions.c.product_id))
    return [
        StoredPosition(
            row.product_id, Position(row.base_size, row.cost, row.realized_pnl, row.total_fees), row.updated_at
        )
        for row in rows
    ]


async def marks(
    connection: AsyncConnection, product_ids: Sequence[ProductId], granularity: int
) -> dict[ProductId, Price]:
    """Close of the newest closed candle by product."""
    if not product_ids:
        return {}
    query = select(executor_latest_closes.c.product_id, executor_latest_closes.c.close).where(
        executor_latest_closes.c.product_id.in_(product_ids), executor_latest_closes.c.granularity == granularity
    )
    return {row.product_id: row.close for row in await connection.execute(query)}
