"""Every service's role may do what `schema.ownership` says, and nothing else; what is written once, nobody can change.

What a role may do is asked of PostgreSQL itself, right by right, or tried by a session of that role.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from cli.database_roles import faults_of_roles
from meshkit.errors import Misconfigured
from schema.grants import ROLES, Grant, Kind, sequences_of, statements, wanted_grants
from schema.migrate import migrate
from schema.ownership import APPEND_ONLY, FUNCTIONS, ONE_ROW, OWNED, REMOVABLE, SHARED, access_of
from schema.roles import bring_roles_up_to_date, let_act_as, make_missing
from schema.tables import metadata
from schema.views import views
from tradekit.services import database_role

MAY_NOT, STAYS = "42501", "23001"
TABLE_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
COLUMN_RIGHTS = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
# Everything that a role may do in a database: by a right of its own, by one of PUBLIC or by membership.
MAY = """
    SELECT role, 'TABLE' AS kind, c.relname::text AS name, "right"
    FROM pg_class c, unnest($1::text[]) AS role, unnest($2::text[]) AS "right"
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('S', 'i', 'c')
      AND has_table_privilege(role, c.oid, "right")
    UNION ALL
    SELECT role, 'TABLE', c.relname, "right"
    FROM pg_class c, unnest($1::text[]) AS role, unnest($3::text[]) AS "right"
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('S', 'i', 'c')
      AND has_any_column_privilege(role, c.oid, "right")
    UNION ALL
    SELECT role, 'SEQUENCE', c.relname, "right"
    FROM pg_class c, unnest($1::text[]) AS role, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS "right"
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege(role, c.oid, "right")
    UNION ALL
    SELECT role, 'FUNCTION', p.proname, 'EXECUTE' FROM pg_proc p, unnest($1::text[]) AS role
    WHERE p.pronamespace = 'public'::regnamespace AND has_function_privilege(role, p.oid, 'EXECUTE')
"""


async def entered(database: Any, user: str) -> Any:
    return await asyncpg.connect(host=database.host, database=database.name, user=user)


async def may(database: Any) -> set[Grant]:
    connection = await entered(database, database.user)
    try:
        rows = await connection.fetch(MAY, list(ROLES.values()), list(TABLE_RIGHTS), list(COLUMN_RIGHTS))
        return {Grant(row["role"], Kind(row["kind"]), row["name"], row["right"]) for row in rows}
    finally:
        await connection.close()


async def run(database: Any, *given: str) -> None:
    async with database.engine.begin() as connection:
        for statement in given:
            await connection.execute(text(statement))


async def refused(connection: Any, statement: str) -> str:
    """The SQLSTATE that a statement ends with; empty if it does not."""
    try:
        async with connection.transaction():
            await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return error.sqlstate or "?"
    return ""


def changes(table: str) -> tuple[str, ...]:
    column = next(iter(metadata.tables[table].c)).name
    return (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}")


def writes(table: str) -> tuple[str, ...]:
    return (f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, '{{}}')", *changes(table))


async def test_every_role_may_do_exactly_what_is_declared(database: Any) -> None:
    assert await may(database) == wanted_grants()


@pytest.mark.parametrize("reader", ROLES)
def test_what_is_declared_of_a_role_is_what_its_code_may_name(reader: str) -> None:
    access = access_of(reader)
    own = {grant for grant in wanted_grants() if grant.role == ROLES[reader]}

    def names(kind: Kind, rights: Iterable[str]) -> set[str]:
        return {grant.name for grant in own if grant.kind is kind and grant.right in rights}

    kept = {function.keeps.name for function in FUNCTIONS.values() if function.keeps is not None}
    written = (access.written | access.inserted) - kept
    assert names(Kind.TABLE, ("INSERT", "UPDATE", "DELETE", "TRUNCATE")) == written
    assert names(Kind.TABLE, ("SELECT",)) == access.written | access.read | access.views
    assert names(Kind.FUNCTION, ("EXECUTE",)) == access.functions
    assert names(Kind.TABLE, TABLE_RIGHTS) <= {*metadata.tables, *views.tables}


def test_a_table_has_one_kind_of_change() -> None:
    kept = {function.keeps for function in FUNCTIONS.values() if function.keeps is not None}
    kinds = [table.name for tables in (APPEND_ONLY, REMOVABLE, ONE_ROW, kept) for table in tables]
    assert len(kinds) == len(set(kinds))


async def test_risk_cannot_write_orders(database: Any) -> None:
    risk = await entered(database, database_role("risk"))
    try:
        for statement in writes("orders"):
            assert await refused(risk, statement) == MAY_NOT, statement
        # Nor read them, but for what its views show.
        assert await refused(risk, "SELECT FROM orders") == MAY_NOT
        assert await refused(risk, "SELECT FROM risk_open_orders") == ""
    finally:
        await risk.close()


LEDGER = ("ledger_entries", "ledger_balances", "ledger_opening", "ledger_adjustments", "orders", "fills", "positions")


@pytest.mark.parametrize("reader", [name for name in ROLES if name != "executor"])
async def test_nobody_but_the_executor_can_write_the_ledger(database: Any, reader: str) -> None:
    connection = await entered(database, ROLES[reader])
    try:
        for table in LEDGER:
            for statement in writes(table):
                assert await refused(connection, statement) == MAY_NOT, statement
    finally:
        await connection.close()


async def test_the_executor_books_and_cannot_change_what_is_booked(database: Any) -> None:
    executor = await entered(database, database_role("executor"))
    try:
        await executor.execute(
            "INSERT INTO ledger_entries (transaction_id, account, currency, amount, as_of)"
            " VALUES ('t', 'exchange', 'USD', 5, now())"
        )
        # Which only the trigger of the entries writes.
        assert await executor.fetchval("SELECT amount FROM ledger_balances") == 5
        for table in ("ledger_entries", "ledger_balances", "fills", "ledger_adjustments"):
            for statement in changes(table):
                assert await refused(executor, statement) == MAY_NOT, statement
    finally:
        await executor.close()


@pytest.mark.parametrize("table", [table.name for table in APPEND_ONLY])
async def test_what_is_written_once_nobody_changes(database: Any, table: str) -> None:
    """No service may, and its owner, who may, is kept from it."""
    for user, reason in ((database.user, STAYS), *((role, MAY_NOT) for role in ROLES.values())):
        connection = await entered(database, user)
        try:
            for statement in changes(table):
                assert (
                    await refused(connection, f"{statement}{' CASCADE' * statement.startswith('TRUNCATE')}") == reason
                )
        finally:
            await connection.close()


async def test_the_trigger_that_keeps_rows_is_on_what_is_written_once_alone(database: Any) -> None:
    async with database.engine.connect() as connection:
        found = await connection.execute(
            text("SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger WHERE tgname = 'append_only'")
        )
        assert dict(found.all()) == {table.name: b"O" for table in APPEND_ONLY}
    with pytest.raises(DBAPIError, match=r"UPDATE of fills is refused: its rows stay as they were written"):
        await run(database, "UPDATE fills SET side = side")


async def test_functions_that_lend_rights_are_those_that_are_declared(database: Any) -> None:
    query = "SELECT proname, prosecdef, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    async with database.engine.connect() as connection:
        rows = (await connection.execute(text(query))).all()
    assert {name for name, lends, _ in rows if lends} == {
        name for name, function in FUNCTIONS.items() if function.lends_rights
    }
    for name, lends, settings in rows:
        # Else what it names could be a caller's own.
        assert not lends or "search_path=public, pg_temp" in settings, name


async def test_a_lent_right_reaches_no_table_of_its_caller(database: Any) -> None:
    executor = await entered(database, database_role("executor"))
    try:
        await executor.execute("CREATE TEMP TABLE accounts AS SELECT 'main' AS account_id, 'MINE' AS trading_state")
        assert await executor.fetchval("SELECT lock_account()") == "ACTIVE"
    finally:
        await executor.close()


async def test_a_role_has_no_other_way_to_a_right(database: Any) -> None:
    roles = list(ROLES.values())
    connection = await entered(database, database.user)
    try:
        able = await connection.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) AND"
            " (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)",
            roles,
        )
        member = await connection.fetch(
            "SELECT roleid::regrole FROM pg_auth_members WHERE member::regrole::text = ANY ($1)", roles
        )
        create = await connection.fetch(
            "SELECT role FROM unnest($1::text[]) AS role WHERE has_schema_privilege(role, 'public', 'CREATE')", roles
        )
        assert (able, member, create) == ([], [], [])
        of_tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = "
        sequences = {row[0] for row in await connection.fetch(f"{of_tables}'S'")}
        assert sequences == {name for table in metadata.tables.values() for name in sequences_of(table)}
        tables = {row[0] for row in await connection.fetch(f"{of_tables}'r'")}
        assert tables - {"alembic_version"} == {table.name for owned in (*OWNED.values(), SHARED) for table in owned}
    finally:
        await connection.close()


async def test_rights_that_somebody_changed_are_as_declared_after_the_next_migration(database: Any) -> None:
    await run(
        database,
        "GRANT ALL ON orders TO mesh_risk",
        "GRANT UPDATE (state), SELECT (order_id) ON orders TO mesh_monitor",
        "GRANT EXECUTE ON FUNCTION risk_commit TO PUBLIC",
        "GRANT SELECT ON fills TO PUBLIC",
        "REVOKE ALL ON fills FROM mesh_executor",
        "REVOKE USAGE ON SEQUENCE ledger_entries_entry_id_seq FROM mesh_executor",
        "ALTER TABLE fills DISABLE TRIGGER append_only",
        "GRANT SELECT ON fills TO pg_monitor",
    )
    connection = await entered(database, database.user)
    try:
        told = "; ".join(seen for seen, _ in await faults_of_roles(connection, 5))
        assert "rights that are missing: mesh_executor: " in told and "rights that nobody is to have: PUBLIC: " in told
        assert "rows of fills can be changed" in told
        await migrate(database.engine)
        assert await may(database) == wanted_grants()
        # What an operator gives to others is his, and so is a trigger that he opened.
        assert await connection.fetchval("SELECT has_table_privilege('pg_monitor', 'fills', 'SELECT')")
        assert [seen for seen, _ in await faults_of_roles(connection, 5)] == ["rows of fills can be changed"]
    finally:
        await connection.close()


def test_a_database_that_has_its_rights_is_not_touched() -> None:
    wanted = wanted_grants()
    assert statements(wanted, wanted) == []
    one = next(iter(wanted))
    other = replace(one, role="mesh_other")
    assert statements(wanted - {one} | {other}, wanted) == [
        f"REVOKE {one.right} ON {one.kind} public.{one.name} FROM mesh_other CASCADE",
        f"GRANT {one.right} ON {one.kind} public.{one.name} TO {one.role}",
    ]


@pytest.fixture
async def plain(database: Any) -> Any:
    """The name of a role that may neither make roles nor act as one."""
    name = f"plain_{uuid4().hex[:12]}"
    await run(database, f"CREATE ROLE {name} LOGIN")
    yield name
    await run(database, f"DROP ROLE {name}")


async def test_who_may_not_make_roles_is_told_what_to_run(database: Any, plain: str) -> None:
    new = f"mesh_{uuid4().hex[:12]}"
    url = database.engine.url.set(username=plain)
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        with pytest.raises(
            Misconfigured, match=rf"no role {new}, and {plain} may not create roles.*CREATE ROLE {new} LOGIN"
        ):
            await connection.run_sync(make_missing, [new])
        # Where they are there, none is made.
        await connection.run_sync(make_missing, list(ROLES.values()))
        with pytest.raises(
            Misconfigured, match=rf"{plain} may not act as mesh_bridge, .*GRANT mesh_bridge, .* TO {plain}"
        ):
            await connection.run_sync(let_act_as, list(ROLES.values()))
    async with database.engine.connect() as connection:
        await connection.run_sync(let_act_as, list(ROLES.values()))


async def test_who_may_make_roles_makes_them_and_may_act_as_them(database: Any, plain: str) -> None:
    await run(database, f"ALTER ROLE {plain} CREATEROLE")
    new = f"mesh_{uuid4().hex[:12]}"
    url = database.engine.url.set(username=plain)
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        await connection.run_sync(make_missing, [new])
        await connection.run_sync(let_act_as, [new])
        await connection.execute(text(f"SET ROLE {new}"))
        await connection.rollback()


@pytest.mark.parametrize("has", ["nothing", "a right that it may not pass on"])
async def test_who_does_not_own_the_tables_is_told_so(database: Any, plain: str, has: str) -> None:
    await run(database, "REVOKE INSERT ON fills FROM mesh_executor")
    if has != "nothing":
        await run(database, f"GRANT SELECT ON fills TO {plain}")
    url = database.engine.url.set(username=plain)
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        with pytest.raises(Misconfigured, match=rf"{plain} may not give rights .*: set DB_USER to the role that owns"):
            await connection.run_sync(bring_roles_up_to_date)
    await run(database, f"REVOKE ALL ON fills FROM {plain}")
