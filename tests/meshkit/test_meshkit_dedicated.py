"""The connection that a room keeps: the same rows as through the pool, and a new connection after whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ARRAY, Integer, Text, bindparam, column, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from meshkit import database
from meshkit.errors import Unavailable
from meshkit.kit import Kit
from schema.base import Amount, Id, Json, Time
from schema.given_rows import given_rows
from schema.operations import stored_requests
from tests.meshkit.hanging import db
from tests.meshkit.toys import settings

AN_ID, A_TIME = UUID(int=7), datetime(2025, 1, 1, tzinfo=UTC)
_LIST: Any = bindparam("among", [2, 3], expanding=True, literal_execute=True)
NUMBERS = given_rows({"number": Integer, "name": Text}, place="place")
PARAMETERS = [
    bindparam(name, type_=kind) for name, kind in {"id": Id, "at": Time, "amount": Amount, "held": Json}.items()
]
# Statements as rooms write them, and what they are given.
WRITTEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "bare text": (text("SELECT 1 AS one, 'x' AS word"), {}),
    "no rows": (text("SELECT 1 AS one WHERE false"), {}),
    "types by place": (
        text("SELECT :id AS a, :at AS b, :amount AS c, :held AS d, 1.5 AS e")
        .bindparams(*PARAMETERS)
        .columns(column("a", Id), column("b", Time), column("c", Amount), column("d", Json), column("e", Amount)),
        {"id": AN_ID, "at": A_TIME, "amount": Decimal("1.000000000000000001"), "held": {"a": [1, None, "ü"]}},
    ),
    "types by name": (
        text("SELECT :held AS held, :amount AS amount, :id AS id, :at AS at")
        .bindparams(*PARAMETERS)
        .columns(amount=Amount, at=Time, held=Json, id=Id),
        {"id": None, "at": A_TIME, "amount": Decimal(3), "held": []},
    ),
    "two of a name": (text("SELECT 1 AS one, pg_notify('x', ''), pg_notify('y', '')"), {}),
    "rows given": (
        select(NUMBERS.c.place, NUMBERS.c.number, NUMBERS.c.name).where(NUMBERS.c.number.in_(_LIST)),
        {"number": [1, 2, 3], "name": ["a", "b", None]},
    ),
    "values of its own": (select(literal("x").label("own"), func.coalesce(bindparam("given", type_=Text), "none")), {}),
    "array": (select(func.cardinality(bindparam("many", type_=ARRAY(Id))).label("many")), {"many": [AN_ID, AN_ID]}),
}


@pytest.fixture
async def kit(postgres: Any) -> AsyncIterator[Kit[Any]]:
    made: Kit[Any] = Kit(settings(**db(postgres, db_pool_size=1)))
    async with made.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS kept (number integer PRIMARY KEY)"))
        await connection.execute(text("TRUNCATE kept"))
    yield made
    await made.close()


@pytest.mark.parametrize("name", WRITTEN)
async def test_rows_are_those_of_the_pool(kit: Kit[Any], name: str) -> None:
    statement, given = WRITTEN[name]
    given = {"given": None, **given} if name == "values of its own" else given
    async with kit.autocommit.connect() as pooled:
        rows = (await pooled.execute(statement, given)).all()
    async with kit.dedicated().autocommit() as own:
        for _ in range(2):
            found = (await own.execute(statement, given)).all()
            assert [tuple(row) for row in found] == [tuple(row) for row in rows]
            if name != "two of a name":
                assert [list(row._mapping.items()) for row in found] == [list(row._mapping.items()) for row in rows]


async def test_a_parameter_that_is_missing_is_not_taken_for_none(kit: Kit[Any]) -> None:
    statement, _ = WRITTEN["array"]
    with pytest.raises(KeyError, match="many"):
        async with kit.dedicated().autocommit() as own:
            await own.execute(statement, {})


async def numbers(kit: Kit[Any]) -> list[int]:
    async with kit.autocommit.connect() as connection:
        return list((await connection.execute(text("SELECT number FROM kept ORDER BY number"))).scalars())


_KEEP = text("INSERT INTO kept VALUES (:number)").bindparams(bindparam("number", type_=Integer))
_BACKEND = text("SELECT pg_backend_pid() AS pid")


async def test_a_transaction_is_kept_or_undone(kit: Kit[Any]) -> None:
    own = kit.dedicated()
    async with own.begin() as connection:
        await connection.execute(_KEEP, {"number": 1})
    with pytest.raises(ZeroDivisionError):
        async with own.begin() as connection:
            await connection.execute(_KEEP, {"number": 2})
            raise ZeroDivisionError
    async with own.begin() as connection:
        await connection.execute(_KEEP, {"number": 3})
        await connection.rollback()
    async with own.autocommit() as connection:
        await connection.execute(_KEEP, {"number": 4})
    assert await numbers(kit) == [1, 4]


async def test_a_connection_that_the_server_ended_is_replaced(kit: Kit[Any]) -> None:
    own = kit.dedicated()
    async with own.autocommit() as connection:
        pid = (await connection.execute(_BACKEND)).one().pid
    async with kit.autocommit.connect() as other:
        await other.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    async with own.autocommit() as connection:
        assert (await connection.execute(_BACKEND)).one().pid != pid
    with pytest.raises(Unavailable):
        async with own.autocommit() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with own.begin() as connection:
        await connection.execute(_KEEP, {"number": 5})
    assert await numbers(kit) == [5]


async def test_a_statement_that_takes_too_long_and_one_that_is_cut_off_leave_nothing_behind(kit: Kit[Any]) -> None:
    own = kit.dedicated()
    with pytest.raises(Unavailable):
        async with own.begin() as connection:
            await connection.execute(_KEEP, {"number": 6})
            await connection.execute(text("SELECT pg_sleep(60)"))
    with database.watched() as noted, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), own.begin() as connection:
            await connection.execute(_KEEP, {"number": 7})
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert noted.cut_at_database
    async with own.begin() as connection:
        await connection.execute(_KEEP, {"number": 8})
    assert await numbers(kit) == [8]


async def test_one_after_the_other_and_no_place_of_the_pool(kit: Kit[Any]) -> None:
    own, order = kit.dedicated(), []

    async def use(number: int) -> None:
        async with own.begin() as connection:
            order.append(number)
            await connection.execute(_KEEP, {"number": number})
            await asyncio.sleep(0.01)
            order.append(number)

    async with kit.engine.begin():
        # The pool has one place, and it is taken.
        await asyncio.gather(*(use(number) for number in range(3)))
    assert order == [0, 0, 1, 1, 2, 2]


async def test_statements_that_are_made_anew_do_not_pile_up(kit: Kit[Any]) -> None:
    own = kit.dedicated()
    async with own.autocommit() as connection:
        for number in range(120):
            await connection.execute(text(f"SELECT {number} AS number"))
    assert len(own._prepared) < 100
    # One that SQLAlchemy makes, with its values inside, is as good.
    values = {"service": "s", "caller": "c", "request_id": AN_ID}
    made = insert(stored_requests).values(**values, method="m", body_sha256="b", response=b"")
    with pytest.raises(Exception, match="stored_requests"):
        async with own.autocommit() as connection:
            await connection.execute(made)
