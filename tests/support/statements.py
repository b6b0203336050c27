"""What a service says to its database, counted where it is sent: statements by a part of their text, and transactions."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from sqlalchemy import Engine, Executable, event
from sqlalchemy.dialects.postgresql import asyncpg as postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from meshkit.dedicated import DedicatedConnection, Rows


@dataclass
class Sent:
    """Statements by their kinds; one that is in no transaction is one by itself."""

    statements: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    alone: Counter[str] = field(default_factory=Counter)
    open: set[int] = field(default_factory=set)

    @property
    def total(self) -> int:
        return self.statements.total()

    def without(self, *kinds: str) -> dict[str, int]:
        return {kind: count for kind, count in self.statements.items() if kind not in kinds}

    def transactions_without(self, *kinds: str) -> int:
        """But for statements of these kinds that were one by themselves."""
        return self.transactions - sum(self.alone[kind] for kind in kinds)

    def note(self, kind: str, count: int, transaction: int | None) -> None:
        self.statements[kind] += count
        if transaction is None:
            self.alone[kind] += 1
            self.transactions += 1
        elif transaction not in self.open:
            self.open.add(transaction)
            self.transactions += 1


@contextmanager
def statements(
    beside: AsyncEngine, kinds: Mapping[str, str] | None = None, in_transactions_only: bool = False
) -> Iterator[Sent]:
    """What every engine of this process sends but that of the test itself, and every dedicated connection. One that is
    executed for many rows counts for each.

    `kinds` names statements by what is in them, else they are told by their first words. Health checks and polls read
    without a transaction and may be left out.
    """
    sent = Sent()

    def kind_of(statement: str) -> str:
        line = " ".join(statement.split())
        return next((kind for part, kind in (kinds or {}).items() if part in line), line[:60])

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        autocommit = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if connection.engine.pool is beside.sync_engine.pool or (autocommit and in_transactions_only):
            return
        sent.note(kind_of(statement), len(parameters) if executemany else 1, None if autocommit else id(connection))

    def ended(connection: Any) -> None:
        sent.open.discard(id(connection))

    execute = DedicatedConnection.execute
    # Kept, so that the next has not the same id.
    lent: list[DedicatedConnection] = []

    async def executing(
        connection: DedicatedConnection, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Rows:
        lent.append(connection)
        if connection.is_open or not in_transactions_only:
            sent.note(kind_of(_text_of(statement)), 1, id(connection) if connection.is_open else None)
        return await execute(connection, statement, parameters)

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", ended)
    event.listen(Engine, "rollback", ended)
    try:
        with mock.patch.object(DedicatedConnection, "execute", executing):
            yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "commit", ended)
        event.remove(Engine, "rollback", ended)


def _text_of(statement: Any) -> str:
    return str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
