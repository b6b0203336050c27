"""The SQL of the tables that the risk engine owns, and the little it reads of others beside the account's state.

Everything here runs inside a transaction that holds the account lock, unless it says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.risk import accounts, equity_snapshots, risk_locks, risk_reservations
from schema.views.risk import risk_products
from svc_risk.equity import EquityMark
from svc_risk.locks import day_start, lock_id
from svc_risk.pacing import RATE_LOOKBACK
from svc_risk.snapshot import Lock, PastOrder
from tradekit.decimals import plain
from tradekit.products import Product
from tradekit.reasons import Reason
from tradekit.states import TradingState
from tradekit.units import ProductId, QuoteSize

ACCOUNT_ID = "main"

_APPROVED = text("""
    SELECT EXISTS (
      SELECT 1 FROM risk_approvals WHERE recommendation_id = :recommendation AND request_hash = :terms
    )
""")
_MOMENT = text("""
    SELECT clock_timestamp() AS machine_time,
           (SELECT as_of FROM watermarks WHERE stage = 'market') AS market_time,
           (SELECT taker FROM fee_in_force) AS exchange_fee,
           newest.clean, newest.created_at AS reconciled_at
    FROM (SELECT 1) AS one LEFT JOIN risk_newest_reconciliation AS newest ON true
""")
# The newest mark at or before 00:00 UTC, else the day's first one.
_DAY_OPEN = text("""
    SELECT coalesce(
      (SELECT equity + transferred FROM equity_snapshots WHERE as_of <= :opening ORDER BY as_of DESC LIMIT 1),
      (SELECT equity + transferred FROM equity_snapshots WHERE as_of > :opening AND as_of <= :as_of
       ORDER BY as_of LIMIT 1)
    )
""")
# A live reservation is an entry, as an order is.
_PRODUCT_PAST = text("""
    SELECT
      (SELECT max(as_of) FROM (
         SELECT as_of FROM risk_entries WHERE product_id = :product_id
         UNION ALL
         SELECT as_of FROM risk_reservations WHERE product_id = :product_id AND side = 'BUY' AND state = 'HELD'
       ) AS entries) AS last_entry,
      (SELECT max(as_of) FROM risk_closed_trades
       WHERE product_id = :product_id AND realized_pnl < 0 AND as_of <= :as_of) AS last_losing_exit
""")
_RECENT_ENTRIES = text("""
    SELECT product_id, max(as_of) AS newest FROM risk_entries WHERE as_of > :since GROUP BY product_id
""")
_RECENT_LOSSES = text("""
    SELECT product_id, max(as_of) AS newest FROM risk_closed_trades
    WHERE realized_pnl < 0 AND as_of > :since GROUP BY product_id
""")


@dataclass(frozen=True, slots=True)
class AccountRow:
    """The account as it stands under its lock."""

    trading_state: TradingState
    note: str
    high_water_mark: QuoteSize | None
    version: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The clocks, when the ledger was last reconciled, and the exchange's taker fee, None until it was read.
    `market_time` is None before the first candle.
    """

    machine_time: datetime
    market_time: datetime | None
    reconciled_at: datetime | None
    clean: bool
    exchange_fee: Decimal | None = None

    def reconciled_within(self, seconds: int) -> bool:
        """Whether the newest reconciliation is young enough and found the ledger equal."""
        if self.reconciled_at is None or not self.clean:
            return False
        return self.machine_time - self.reconciled_at <= timedelta(seconds=seconds)


async def lock_account(connection: AsyncConnection) -> AccountRow:
    """Takes the account lock until the transaction ends."""
    return await _account(connection, lock=True)


async def read_account(connection: AsyncConnection) -> AccountRow:
    """The account without its lock, for those who only look."""
    return await _account(connection, lock=False)


async def _account(connection: AsyncConnection, lock: bool) -> AccountRow:
    query = select(accounts).where(accounts.c.account_id == ACCOUNT_ID)
    row = (await connection.execute(query.with_for_update() if lock else query)).one()
    return AccountRow(
        TradingState(row.trading_state), row.trading_state_note, row.high_water_mark, row.snapshot_version
    )


async def read_moment(connection: AsyncConnection) -> Moment:
    """Machine time as of now, not of the transaction's begin: waiting for the lock may have taken a while."""
    row = (await connection.execute(_MOMENT)).one()
    return Moment(row.machine_time, row.market_time, row.reconciled_at, bool(row.clean), _share(row.exchange_fee))


def _share(stored: Decimal | None) -> Decimal | None:
    """A share without the zeros that its column adds: a decision shows and stores it as it was given."""
    return None if stored is None else Decimal(plain(stored))


async def expire_reservations(connection: AsyncConnection, machine_time: datetime) -> None:
    """HELD → EXPIRED for all that are overdue."""
    table = risk_reservations
    await connection.execute(
        update(table)
        .where(table.c.state == "HELD", table.c.expires_at <= machine_time)
        .values(state="EXPIRED", updated_at=machine_time)
    )


async def read_product(connection: AsyncConnection, product_id: ProductId) -> Product | None:
    """What the exchange says of a product, None if it is not on its list."""
    c = risk_products.c
    query = select(
        c.product_id,
        c.base_increment,
        c.quote_increment,
        c.price_increment,
        c.base_min_size,
        c.quote_min_size,
        c.tradable,
        c.status,
    ).where(c.product_id == product_id)
    row = (await connection.execute(query)).one_or_none()
    return Product(*row) if row else None


async def past_orders(connection: AsyncConnection, as_of: datetime) -> tuple[PastOrder, ...]:
    """Order tokens spent within the memory of the buckets, and any spent later than `as_of`."""
    c = risk_reservations.c
    query = (
        select(c.product_id, c.as_of)
        .where(c.state.in_(("HELD", "COMMITTED")), c.as_of > as_of - RATE_LOOKBACK)
        .order_by(c.as_of, c.product_id)
    )
    return tuple(PastOrder(*row) for row in (await connection.execute(query)).all())


@dataclass(frozen=True, slots=True)
class ProductPast:
    """Market times of a product's newest entry and newest losing exit."""

    last_entry: datetime | None
    last_losing_exit: datetime | None


async def read_product_past(connection: AsyncConnection, product_id: ProductId, as_of: datetime) -> ProductPast:
    """What cooldowns are counted from."""
    row = (await connection.execute(_PRODUCT_PAST, {"product_id": product_id, "as_of": as_of})).one()
    return ProductPast(row.last_entry, row.last_losing_exit)


async def day_open(connection: AsyncConnection, as_of: datetime) -> QuoteSize | None:
    """Equity at the opening of as_of's day, None before the first mark."""
    given = {"as_of": as_of, "opening": day_start(as_of)}
    found: QuoteSize | None = (await connection.execute(_DAY_OPEN, given)).scalar_one()
    return found


async def locks_in_force(connection: AsyncConnection, as_of: datetime) -> list[tuple[UUID, Lock]]:
    """Stored locks in force at a market time, with their ids."""
    c = risk_locks.c
    query = (
        select(c.lock_id, c.code, c.scope, c.from_time, c.until_time, c.reason)
        .where(c.released_at.is_(None), c.from_time <= as_of, or_(c.until_time.is_(None), c.until_time > as_of))
        .order_by(c.from_time, c.code)
    )
    return [(row.lock_id, _lock(row)) for row in (await connection.execute(query)).all()]


def _lock(row: Any) -> Lock:
    reason = row.reason
    return Lock(row.code, row.scope, row.from_time, row.until_time, reason["limit"], reason["observed"], reason["unit"])


async def insert_locks(connection: AsyncConnection, found: Sequence[Lock]) -> None:
    """Stores tripped locks; one that is stored already stays as it is."""
    rows = [
        {
            "lock_id": lock_id(lock),
            "code": lock.code,
            "scope": lock.scope,
            "from_time": lock.from_time,
            "until_time": lock.until_time,
            "reason": Reason(lock.code, lock.limit, lock.observed, lock.unit, lock.scope).as_dict(),
        }
        for lock in found
    ]
    if rows:
        await connection.execute(upsert(risk_locks).values(rows).on_conflict_do_nothing())


async def release_operator_locks(connection: AsyncConnection, machine_time: datetime) -> int:
    """Ends every lock that waits for an operator; gives their number."""
    c = risk_locks.c
    result = await connection.execute(
        update(risk_locks)
        .where(and_(c.released_at.is_(None), c.until_time.is_(None)))
        .values(released_at=machine_time)
        .returning(c.lock_id)
    )
    return len(result.all())


async def set_high_water_mark(connection: AsyncConnection, value: QuoteSize | None) -> None:
    """Moves the high-water mark."""
    await connection.execute(update(accounts).where(accounts.c.account_id == ACCOUNT_ID).values(high_water_mark=value))


async def newest_mark(connection: AsyncConnection) -> datetime | None:
    """Market time of the newest equity mark."""
    found: datetime | None = (await connection.execute(select(func.max(equity_snapshots.c.as_of)))).scalar_one()
    return found


async def insert_mark(connection: AsyncConnection, mark: EquityMark) -> None:
    """Stores an equity mark; one that is stored already stays as it is."""
    row = {
        "as_of": mark.as_of,
        "equity": mark.equity,
        "cash": mark.cash,
        "exposure": mark.exposure,
        "heat": mark.heat,
        "drawdown": mark.drawdown,
    }
    await connection.execute(upsert(equity_snapshots).values(row).on_conflict_do_nothing())


async def held_reservations(connection: AsyncConnection, machine_time: datetime) -> int:
    """Live reservations."""
    c = risk_reservations.c
    query = select(func.count()).where(c.state == "HELD", c.expires_at > machine_time)
    return int((await connection.execute(query)).scalar_one())


async def recent_entries(connection: AsyncConnection, since: datetime) -> dict[ProductId, datetime]:
    """Newest entry of every product that had one after `since`."""
    return {row.product_id: row.newest for row in (await connection.execute(_RECENT_ENTRIES, {"since": since})).all()}


async def recent_losing_exits(connection: AsyncConnection, since: datetime) -> dict[ProductId, datetime]:
    """Newest losing exit of every product that had one after `since`."""
    return {row.product_id: row.newest for row in (await connection.execute(_RECENT_LOSSES, {"since": since})).all()}


async def is_approved(connection: AsyncConnection, recommendation_id: UUID, terms: str) -> bool:
    """True if a reviewer's enforced verdict lets it pass, on exactly these terms."""
    given = {"recommendation": recommendation_id, "terms": terms}
    found: bool = (await connection.execute(_APPROVED, given)).scalar_one()
    return found
