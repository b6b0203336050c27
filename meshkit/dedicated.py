"""A database connection that one room keeps for itself, for the few statements that every order waits for.

A process that was idle a moment ago needs 1.0 ms to borrow a connection from the pool and run the smallest statement through
SQLAlchemy; the driver alone needs 0.3. So here a statement, written and typed with SQLAlchemy as everywhere, is compiled once
for a connection, and the driver runs it. Whatever goes wrong ends the connection; the next use opens another.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, RowMapping
from sqlalchemy.dialects.postgresql import asyncpg as postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import database
from meshkit.settings import KitSettings

_DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
_MOST_PREPARED = 50
Processor = Callable[[Any], Any] | None


class Rows:
    """What a statement gave, read as a result of SQLAlchemy is: rows whose columns are attributes."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        return self._rows

    def one(self) -> Any:
        """The only row; ValueError if there is not exactly one."""
        (row,) = self._rows
        return row

    def mappings(self) -> Iterator[Mapping[str, Any]]:
        return (row._mapping for row in self._rows)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement on one connection: how its parameters are given to the driver, and how a row is made of what it gives."""

    run: Any
    parameters: tuple[tuple[Any, Processor], ...]
    row: Any
    processors: tuple[Processor, ...]

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """Each parameter by its name, or else the value that the statement has for it."""
        values = ((_value(parameter, given), bind) for parameter, bind in self.parameters)
        return [value if bind is None or value is None else bind(value) for value, bind in values]

    def rows(self, records: Sequence[Any]) -> Rows:
        return Rows([self.row(*map(_processed, self.processors, record)) for record in records])


def _value(parameter: Any, given: Mapping[str, Any]) -> Any:
    return given[parameter.key] if parameter.required or parameter.key in given else parameter.effective_value


def _processed(processor: Processor, value: Any) -> Any:
    return value if processor is None else processor(value)


class DedicatedConnection:
    """One transaction, or one statement, on the connection."""

    def __init__(self, driver: Any, prepared: dict[Executable, _Prepared]) -> None:
        self._driver = driver
        self._prepared = prepared
        self.is_open = False

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Runs a statement. It is kept compiled by what it is, so one that is made anew at each call gains nothing here."""
        prepared = self._prepared.get(statement)
        with database.answering():
            if prepared is None:
                if len(self._prepared) >= _MOST_PREPARED:
                    self._prepared.clear()
                prepared = self._prepared[statement] = await _prepare(self._driver, statement)
            return prepared.rows(await prepared.run(*prepared.arguments(parameters or {})))

    async def begin(self) -> None:
        with database.answering():
            await self._driver.execute("BEGIN")
        self.is_open = True

    async def commit(self) -> None:
        with database.answering():
            await self._driver.execute("COMMIT")
        self.is_open = False

    async def rollback(self) -> None:
        """Undoes all of the transaction, which is over by that."""
        with database.answering():
            await self._driver.execute("ROLLBACK")
        self.is_open = False


# What a room's SQL is written for: a connection of the pool, or the one that a room keeps. And a row of either, by its columns.
Connection = AsyncConnection | DedicatedConnection
RowByName = RowMapping | Mapping[str, Any]


class Dedicated:
    """The connection of one room; who comes while it is in use waits. Opened at the first use."""

    def __init__(self, settings: KitSettings) -> None:
        self._settings = settings
        self._in_use = asyncio.Lock()
        self._driver: Any = None
        self._prepared: dict[Executable, _Prepared] = {}
        self._used = 0.0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[DedicatedConnection]:
        """A transaction, committed at the end of the block and undone where the block raises."""
        async with self._lent() as connection:
            await connection.begin()
            yield connection
            if connection.is_open:
                await connection.commit()

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[DedicatedConnection]:
        """Statements that are each a transaction of their own."""
        async with self._lent() as connection:
            yield connection

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[DedicatedConnection]:
        with database.waiting():
            await self._in_use.acquire()
        try:
            driver = await self._ready()
            try:
                yield DedicatedConnection(driver, self._prepared)
            except BaseException:
                # What state it is in is not known; the server undoes what was open.
                self._end()
                raise
            self._used = time.monotonic()
        finally:
            self._in_use.release()

    async def _ready(self) -> Any:
        if self._driver is not None and not await database.is_living(self._driver, time.monotonic() - self._used):
            self._end()
        if self._driver is None:
            self._driver = await _open(self._settings)
        return self._driver

    def _end(self) -> None:
        driver, self._driver, self._prepared = self._driver, None, {}
        if driver is not None:
            driver.terminate()

    async def close(self) -> None:
        """Ends the connection, in use or not."""
        self._end()


async def _open(settings: KitSettings) -> Any:
    driver = await database.connect(settings)
    try:
        with database.answering():
            # As SQLAlchemy sets it: JSON goes over the wire as text behind the version of its form.
            await driver.set_type_codec(
                "jsonb", schema="pg_catalog", format="binary", encoder=_jsonb, decoder=lambda held: json.loads(held[1:])
            )
    except BaseException:
        driver.terminate()
        raise
    return driver


def _jsonb(text: str) -> bytes:
    return b"\x01" + text.encode()


async def _prepare(driver: Any, statement: Executable) -> _Prepared:
    compiled: Any = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
    # Lists of constants become part of the text, as they were when the statement was made.
    own = compiled.construct_params(escape_names=False, _no_postcompile=True, _check=False)
    compiled._process_parameters_for_postcompile(own, _populate_self=True)
    run = await driver.prepare(compiled.string)
    attributes = run.get_attributes()
    columns = list(compiled._result_columns)
    if columns and not (compiled._ordered_columns or compiled._textual_ordered_columns):
        # Columns of a text by their names, in whatever order the text gives them.
        named = {column.keyname: column for column in columns}
        columns = [named.get(attribute.name) for attribute in attributes]
    elif not columns:
        columns = [None] * len(attributes)
    names = [
        column.keyname if column is not None else attribute.name
        for column, attribute in zip(columns, attributes, strict=True)
    ]
    processors = tuple(
        column.type._cached_result_processor(_DIALECT, attribute.type.oid) if column is not None else None
        for column, attribute in zip(columns, attributes, strict=True)
    )
    binds = compiled._bind_processors
    parameters = tuple((compiled.binds[name], binds.get(name)) for name in compiled.positiontup)
    return _Prepared(run.fetch, parameters, _row_class(names), processors)


def _row_class(names: Sequence[str]) -> Any:
    # Of several columns of one name the first is found by it.
    fields: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    return type("Row", (fields,), {"__slots__": (), "_mapping": property(lambda self: self._asdict())})
