"""The SQL of the tables that the risk engine owns, and the little it reads of others beside the account's state.

Everything here runs inside a transaction that holds the account lock, unless it says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Boolean, Double, Integer, Text, and_, bindparam, column, select, text, true, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.dedicated import Connection
from schema import streams
from schema.base import Amount, Json, Time
from schema.risk import accounts, risk_locks, risk_reservations
from svc_risk.equity import EquityMark
from svc_risk.known import AccountRow, Moment
from svc_risk.locks import lock_id
from svc_risk.snapshot import Lock
from tradekit.decimals import plain
from tradekit.reasons import Reason
from tradekit.states import TradingState
from tradekit.units import ProductId, QuoteSize

ACCOUNT_ID = "main"

# Machine time as of now, not of the transaction's begin: waiting for the lock may have taken a while.
MOMENT = text("""
    SELECT clock_timestamp() AS machine_time,
           (SELECT as_of FROM watermarks WHERE stage = 'market') AS market_time,
           (SELECT taker FROM fee_in_force) AS exchange_fee,
           newest.clean, newest.created_at AS reconciled_at,
           (SELECT max(as_of) FROM equity_snapshots) AS marked_to
    FROM (SELECT 1) AS one LEFT JOIN risk_newest_reconciliation AS newest ON true
""").columns(
    column("machine_time", Time),
    column("market_time", Time),
    column("exchange_fee", Amount),
    column("clean", Boolean),
    column("reconciled_at", Time),
    column("marked_to", Time),
)
_ACCOUNT = select(accounts).where(accounts.c.account_id == ACCOUNT_ID)
_ACCOUNT_LOCKED = _ACCOUNT.with_for_update()
_NOW = MOMENT.cte("moment")
_LOOK = _ACCOUNT.add_columns(*_NOW.c).join_from(accounts, _NOW, true())
_RECENT = text("""
    SELECT (SELECT jsonb_object_agg(product_id, newest) FROM (
              SELECT product_id, max(as_of) AS newest FROM risk_entries WHERE as_of > :entries_since GROUP BY product_id
            ) AS entry) AS entries,
           (SELECT jsonb_object_agg(product_id, newest) FROM (
              SELECT product_id, max(as_of) AS newest FROM risk_losing_exits WHERE as_of > :losses_since GROUP BY product_id
            ) AS losing_exit) AS losses,
           (SELECT count(*) FROM risk_reservations WHERE state = 'HELD' AND expires_at > :machine_time) AS held
""").columns(column("entries", Json), column("losses", Json), column("held", Integer))

_OVERDUE = (
    update(risk_reservations)
    .where(risk_reservations.c.state == "HELD", risk_reservations.c.expires_at <= bindparam("now"))
    .values(state="EXPIRED", updated_at=bindparam("now"))
)
_SET_HIGH = update(accounts).where(accounts.c.account_id == ACCOUNT_ID).values(high_water_mark=bindparam("high"))
# Whoever waits for the bar to be marked is woken by the one that marks it.
_MARK = text("""
    WITH stored AS (
      INSERT INTO equity_snapshots (as_of, equity, cash, exposure, heat, drawdown)
      VALUES (:as_of, :equity, :cash, :exposure, :heat, :drawdown) ON CONFLICT DO NOTHING RETURNING as_of
    ) SELECT pg_notify(:channel, '') FROM stored
""").bindparams(
    bindparam("as_of", type_=Time),
    *(bindparam(name, type_=Amount) for name in ("equity", "cash", "exposure")),
    *(bindparam(name, type_=Double) for name in ("heat", "drawdown")),
    bindparam("channel", streams.EQUITY_SNAPSHOTS, type_=Text),
)


async def lock_account(connection: Connection) -> AccountRow:
    """Takes the account lock until the transaction ends. What is read after it is what nobody else changes."""
    return _account((await connection.execute(_ACCOUNT_LOCKED)).one())


async def read_account(connection: AsyncConnection) -> tuple[AccountRow, Moment]:
    """The account without its lock, for those who only look, and the moment of the look: one statement."""
    row = (await connection.execute(_LOOK)).one()
    return _account(row), moment_of(row)


def _account(row: Any) -> AccountRow:
    return AccountRow(
        TradingState(row.trading_state), row.trading_state_note, row.high_water_mark, row.snapshot_version
    )


async def read_moment(connection: Connection) -> Moment:
    """The clocks and what is read with them."""
    return moment_of((await connection.execute(MOMENT)).one())


def moment_of(row: Any) -> Moment:
    """The moment of a row that has the columns of MOMENT."""
    return Moment(
        row.machine_time,
        row.market_time,
        row.reconciled_at,
        bool(row.clean),
        _share(row.exchange_fee),
        row.marked_to,
    )


def _share(stored: Decimal | None) -> Decimal | None:
    """A share without the zeros that its column adds: a decision shows and stores it as it was given."""
    return None if stored is None else Decimal(plain(stored))


def json_time(written: str) -> datetime:
    """A time that the server wrote into JSON, which it does in the time zone of its session."""
    return datetime.fromisoformat(written).astimezone(UTC)


async def expire_reservations(connection: Connection, machine_time: datetime) -> None:
    """HELD → EXPIRED for all that are overdue."""
    await connection.execute(_OVERDUE, {"now": machine_time})


async def insert_locks(connection: Connection, found: Sequence[Lock]) -> None:
    """Stores tripped locks; one that is stored already stays as it is."""
    rows = [lock_row(lock) for lock in found]
    if rows:
        await connection.execute(upsert(risk_locks).values(rows).on_conflict_do_nothing())


def lock_row(lock: Lock) -> dict[str, Any]:
    """The columns of a lock."""
    return {
        "lock_id": lock_id(lock),
        "code": lock.code,
        "scope": lock.scope,
        "from_time": lock.from_time,
        "until_time": lock.until_time,
        "reason": Reason(lock.code, lock.limit, lock.observed, lock.unit, lock.scope).as_dict(),
    }


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


async def set_high_water_mark(connection: Connection, value: QuoteSize | None) -> None:
    """Moves the high-water mark."""
    await connection.execute(_SET_HIGH, {"high": value})


async def insert_mark(connection: Connection, mark: EquityMark) -> None:
    """Stores an equity mark and wakes who waits for it; one that is stored already stays as it is and wakes nobody."""
    row = {
        "as_of": mark.as_of,
        "equity": mark.equity,
        "cash": mark.cash,
        "exposure": mark.exposure,
        "heat": mark.heat,
        "drawdown": mark.drawdown,
    }
    await connection.execute(_MARK, row)


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest entry and the newest losing exit of each product that had one lately, and the number of live reservations."""

    entries: Mapping[ProductId, datetime]
    losses: Mapping[ProductId, datetime]
    held_reservations: int


async def read_recent(
    connection: AsyncConnection, entries_since: datetime, losses_since: datetime, machine_time: datetime
) -> Recent:
    """What happened after these market times, and the reservations that are live at a machine time."""
    given = {"entries_since": entries_since, "losses_since": losses_since, "machine_time": machine_time}
    row = (await connection.execute(_RECENT, given)).one()
    return Recent(_times(row.entries), _times(row.losses), row.held)


def _times(stored: Mapping[str, str] | None) -> dict[ProductId, datetime]:
    return {ProductId(name): json_time(written) for name, written in (stored or {}).items()}
