"""The exchange's state: one SQLite file with orders, fills, balances and the market clock.

Every request that changes something is one transaction, so a process killed at any moment comes
back with what it had answered. WAL with synchronous=NORMAL survives the death of the process;
only the loss of the whole machine could take the last moments of simulated trading with it.
The file is locked for as long as the process lives: two exchanges never share one state.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from exchange_sim.numbers import EXACT, ZERO
from exchange_sim.orders import Balance, Fill, Order, Status, Trigger
from exchange_sim.times import SECOND_US

# A state that was made before there were stops gets these.
_ADDED = {
    "trigger": "TEXT NOT NULL DEFAULT ''",
    "stop_price": "TEXT",
    "stop_limit": "TEXT",
    "triggered_us": "INTEGER",
    "attached": "TEXT NOT NULL DEFAULT ''",
    "parent_id": "TEXT NOT NULL DEFAULT ''",
    "edits": "TEXT NOT NULL DEFAULT '[]'",
    "created_wall_seconds": "REAL NOT NULL DEFAULT 0",
    "cancel_wall_seconds": "REAL",
    "fill_wall_seconds": "REAL",
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS balances (
  position INTEGER PRIMARY KEY, currency TEXT NOT NULL UNIQUE, available TEXT NOT NULL, hold TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS orders (
  sequence INTEGER PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, client_order_id TEXT NOT NULL UNIQUE,
  product_id TEXT NOT NULL, side TEXT NOT NULL, variant TEXT NOT NULL, terms TEXT NOT NULL,
  base_size TEXT, quote_size TEXT, limit_price TEXT, end_us INTEGER,
  status TEXT NOT NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, last_fill_us INTEGER,
  filled_size TEXT NOT NULL, filled_value TEXT NOT NULL, fees TEXT NOT NULL, fill_count INTEGER NOT NULL,
  hold TEXT NOT NULL, message TEXT NOT NULL, done_wall_seconds REAL, {added}
) STRICT;
CREATE INDEX IF NOT EXISTS orders_open ON orders (sequence) WHERE status = 'OPEN';
CREATE INDEX IF NOT EXISTS orders_open_of ON orders (product_id) WHERE status = 'OPEN';
CREATE TABLE IF NOT EXISTS fills (
  sequence INTEGER PRIMARY KEY, entry_id TEXT NOT NULL UNIQUE, trade_id TEXT NOT NULL,
  order_id TEXT NOT NULL REFERENCES orders (order_id), product_id TEXT NOT NULL, side TEXT NOT NULL,
  price TEXT NOT NULL, size TEXT NOT NULL, commission TEXT NOT NULL, liquidity TEXT NOT NULL,
  at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS fills_order ON fills (order_id);
CREATE INDEX IF NOT EXISTS fills_time ON fills (at_us);
CREATE TABLE IF NOT EXISTS days (day INTEGER PRIMARY KEY, value TEXT NOT NULL, fees TEXT NOT NULL) STRICT;
""".format(added=", ".join(f"{name} {kind}" for name, kind in _ADDED.items()))
_ORDER_COLUMNS = tuple(field.name for field in fields(Order))
_FILL_COLUMNS = tuple(field.name for field in fields(Fill))
_ORDER_DECIMALS = {
    "base_size",
    "quote_size",
    "limit_price",
    "stop_price",
    "stop_limit",
    "filled_size",
    "filled_value",
} | {
    "fees",
    "hold",
}
_FILL_DECIMALS = {"price", "size", "commission"}


_DAY_US = 86_400 * SECOND_US


class StateInUse(Exception):
    """Another process holds this state, or the file cannot be opened."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One SQL condition over a column with its parameters."""

    sql: str
    parameters: tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Sorting:
    """Greatest first by an expression, after so many rows: such pages move when rows come in between, as the venue says."""

    sql: str
    skip: int


def one_of(column: str, values: Sequence[str]) -> Condition:
    return Condition(f"{column} IN ({','.join('?' * len(values))})", tuple(values))


class ExchangeState:
    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._db.executescript(_SCHEMA)
            has = {row[1] for row in self._db.execute("PRAGMA table_info(orders)")}
            for name, kind in _ADDED.items():
                if name not in has:
                    self._db.execute(f"ALTER TABLE orders ADD COLUMN {name} {kind}")
            if self._db.execute("SELECT NOT EXISTS (SELECT 1 FROM days) AND EXISTS (SELECT 1 FROM fills)").fetchone()[
                0
            ]:
                for fill in self.fills([], -1):
                    self._add_to_day(fill)
        except sqlite3.Error as error:
            raise StateInUse(f"{path}: {error}") from error
        self._changed: dict[str, Order] = {}  # by the running transaction
        # Hears of every order that a commit changed, as it then is; what a transaction did in between was never true outside.
        self.on_orders: Callable[[Sequence[Order]], None] = lambda _: None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        self._changed.clear()
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        if self._changed:
            self.on_orders(tuple(self._changed.values()))

    def note(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def open_account(self, currency: str, available: Decimal) -> None:
        """Adds the account unless it exists."""
        self._db.execute(
            "INSERT OR IGNORE INTO balances (currency, available, hold) VALUES (?, ?, '0')",
            (currency, format(available, "f")),
        )

    def balances(self) -> list[Balance]:
        rows = self._db.execute("SELECT currency, available, hold FROM balances ORDER BY position")
        return [Balance(row[0], Decimal(row[1]), Decimal(row[2])) for row in rows]

    def balance(self, currency: str) -> Balance:
        row = self._db.execute("SELECT available, hold FROM balances WHERE currency = ?", (currency,)).fetchone()
        return Balance(currency, ZERO, ZERO) if row is None else Balance(currency, Decimal(row[0]), Decimal(row[1]))

    def change(self, currency: str, available: Decimal = ZERO, hold: Decimal = ZERO) -> None:
        """Moves an account by the given differences; a negative result is a fault of ours."""
        before = self.balance(currency)
        after = Balance(currency, EXACT.add(before.available, available), EXACT.add(before.hold, hold))
        if after.available < 0 or after.hold < 0:
            raise AssertionError(f"balance below zero: {after}")
        self._db.execute(
            "UPDATE balances SET available = ?, hold = ? WHERE currency = ?",
            (format(after.available, "f"), format(after.hold, "f"), currency),
        )

    def add_order(self, order: Order) -> Order:
        values = _stored(order, _ORDER_COLUMNS)[1:]
        marks = ",".join("?" * len(values))
        cursor = self._db.execute(f"INSERT INTO orders ({','.join(_ORDER_COLUMNS[1:])}) VALUES ({marks})", values)
        added = replace(order, sequence=cursor.lastrowid or 0)
        self._changed[added.order_id] = added
        return added

    def save_order(self, order: Order) -> None:
        assignments = ",".join(f"{name} = ?" for name in _ORDER_COLUMNS[1:])
        values = _stored(order, _ORDER_COLUMNS)
        self._db.execute(f"UPDATE orders SET {assignments} WHERE sequence = ?", (*values[1:], values[0]))
        self._changed[order.order_id] = order

    def order(self, order_id: str) -> Order | None:
        return self._one_order(Condition("order_id = ?", (order_id,)))

    def order_of_client(self, client_order_id: str) -> Order | None:
        return self._one_order(Condition("client_order_id = ?", (client_order_id,)))

    def _one_order(self, condition: Condition) -> Order | None:
        found = self.orders([condition], 1)
        return found[0] if found else None

    def open_orders(self) -> list[Order]:
        rows = self._db.execute(
            f"SELECT {','.join(_ORDER_COLUMNS)} FROM orders WHERE status = 'OPEN' ORDER BY sequence"
        )
        return [_order(row) for row in rows]

    def cancels_queued(self) -> list[Order]:
        """Open orders that somebody has asked to cancel."""
        return self.orders([Condition("status = 'OPEN' AND cancel_wall_seconds IS NOT NULL", ())], -1)

    def kept_waiting(self) -> list[Order]:
        """Open market orders that are filled later, oldest first."""
        return self.orders([Condition("status = 'OPEN' AND fill_wall_seconds IS NOT NULL", ())], -1)[::-1]

    def open_count(self, product_id: str) -> int:
        """Open orders of a product."""
        query = "SELECT count(*) FROM orders WHERE status = 'OPEN' AND product_id = ?"
        return int(self._db.execute(query, (product_id,)).fetchone()[0])

    def orders(self, conditions: Sequence[Condition], limit: int, sorting: Sorting | None = None) -> list[Order]:
        """Newest first, unless sorted otherwise."""
        return [_order(row) for row in self._select("orders", _ORDER_COLUMNS, conditions, limit, sorting)]

    def add_fill(self, fill: Fill) -> None:
        values = _stored(fill, _FILL_COLUMNS)[1:]
        marks = ",".join("?" * len(values))
        self._db.execute(f"INSERT INTO fills ({','.join(_FILL_COLUMNS[1:])}) VALUES ({marks})", values)
        self._add_to_day(fill)

    def _add_to_day(self, fill: Fill) -> None:
        day = fill.at_us // _DAY_US
        row = self._db.execute("SELECT value, fees FROM days WHERE day = ?", (day,)).fetchone() or ("0", "0")
        value = EXACT.add(Decimal(row[0]), EXACT.multiply(fill.price, fill.size))
        fees = EXACT.add(Decimal(row[1]), fill.commission)
        self._db.execute("INSERT OR REPLACE INTO days VALUES (?, ?, ?)", (day, format(value, "f"), format(fees, "f")))

    def traded_since(self, at_us: int) -> tuple[Decimal, Decimal]:
        """Value and fees of all fills from then on: whole days as they were added up, and the fills of the day it begins in."""
        first = at_us // _DAY_US
        begun = self.fills([Condition("at_us >= ? AND at_us < ?", (at_us, (first + 1) * _DAY_US))], -1)
        value, fees = sum_of(begun)
        for row in self._db.execute("SELECT value, fees FROM days WHERE day > ?", (first,)):
            value, fees = EXACT.add(value, Decimal(row[0])), EXACT.add(fees, Decimal(row[1]))
        return value, fees

    def fills(self, conditions: Sequence[Condition], limit: int, sorting: Sorting | None = None) -> list[Fill]:
        """Newest first, unless sorted otherwise."""
        return [_fill(row) for row in self._select("fills", _FILL_COLUMNS, conditions, limit, sorting)]

    def _select(
        self,
        table: str,
        columns: Sequence[str],
        conditions: Sequence[Condition],
        limit: int,
        sorting: Sorting | None,
    ) -> sqlite3.Cursor:
        where = " AND ".join(condition.sql for condition in conditions) or "1"
        parameters = [parameter for condition in conditions for parameter in condition.parameters]
        first = f"{sorting.sql} DESC, " if sorting is not None else ""
        sql = f"SELECT {','.join(columns)} FROM {table} WHERE {where} ORDER BY {first}sequence DESC LIMIT ? OFFSET ?"
        return self._db.execute(sql, (*parameters, limit, sorting.skip if sorting is not None else 0))


def sum_of(fills: Sequence[Fill]) -> tuple[Decimal, Decimal]:
    """Their value and fees."""
    value = fees = ZERO
    for fill in fills:
        value, fees = EXACT.add(value, EXACT.multiply(fill.price, fill.size)), EXACT.add(fees, fill.commission)
    return value, fees


def _stored(row: Order | Fill, columns: Sequence[str]) -> tuple[Any, ...]:
    values = (getattr(row, name) for name in columns)
    return tuple(format(value, "f") if isinstance(value, Decimal) else value for value in values)


def _loaded(columns: Sequence[str], decimals: set[str], row: Sequence[Any]) -> dict[str, Any]:
    pairs = zip(columns, row, strict=True)
    return {name: Decimal(value) if name in decimals and value is not None else value for name, value in pairs}


def _order(row: Sequence[Any]) -> Order:
    values = _loaded(_ORDER_COLUMNS, _ORDER_DECIMALS, row)
    values["status"], values["trigger"] = Status(values["status"]), Trigger(values["trigger"])
    return Order(**values)


def _fill(row: Sequence[Any]) -> Fill:
    return Fill(**_loaded(_FILL_COLUMNS, _FILL_DECIMALS, row))
