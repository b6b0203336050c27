"""What a service says to its database, counted where it is sent: statements by their first words, and transactions."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass
class Sent:
    """Statements by their first words; each of an autocommitted connection is a transaction too."""

    statements: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    open: set[int] = field(default_factory=set)

    @property
    def total(self) -> int:
        return self.statements.total()


@contextmanager
def statements(
    beside: AsyncEngine, kinds: Mapping[str, str] | None = None, in_transactions_only: bool = False
) -> Iterator[Sent]:
    """What every engine of this process sends but that of the test itself. One that is executed for many rows counts for each.

    `kinds` names statements by how they begin. Health checks and polls read without a transaction and may be left out.
    """
    sent = Sent()

    def kind_of(statement: str) -> str:
        line = " ".join(statement.split())
        return next((kind for start, kind in (kinds or {}).items() if line.startswith(start)), line[:60])

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        autocommit = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if connection.engine is beside.sync_engine or (autocommit and in_transactions_only):
            return
        sent.statements[kind_of(statement)] += len(parameters) if executemany else 1
        if autocommit:
            sent.transactions += 1
        elif id(connection) not in sent.open:
            sent.open.add(id(connection))
            sent.transactions += 1

    def ended(connection: Any) -> None:
        sent.open.discard(id(connection))

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", ended)
    event.listen(Engine, "rollback", ended)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "commit", ended)
        event.remove(Engine, "rollback", ended)
