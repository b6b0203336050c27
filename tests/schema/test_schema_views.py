"""The views of the newest migration are the declared ones, and every SQL function touches only what its owner may."""

import pytest
from sqlalchemy import inspect, text

from schema.ownership import FUNCTIONS, SHARED, access_of
from schema.views import create_statement, views
from tests.contracts.contract_walk import ROOT
from tests.contracts.sql_names import named_in_folder, named_in_sql

DEFINITIONS = """
    SELECT viewname, definition FROM pg_views WHERE schemaname = :schema
"""
BODIES = """
    SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


async def definitions(connection, schema):
    """Views by name, each as PostgreSQL understands it."""
    return dict((await connection.execute(text(DEFINITIONS), {"schema": schema})).all())


async def declared(connection, tables):
    """The same of views made from their declarations, beside the others."""
    await connection.execute(text("CREATE SCHEMA declared"))
    await connection.execute(text("SET LOCAL search_path = declared, public"))
    for table in tables:
        await connection.exec_driver_sql(create_statement(table))
    return await definitions(connection, "declared")


async def test_migrated_views_are_the_declared_ones(database):
    async with database.engine.connect() as connection:
        migrated = await definitions(connection, "public")
        assert migrated == await declared(connection, views.tables.values()), (
            "a view was declared anew: let a migration make it by `schema.views.create_statement`"
        )


async def test_a_view_that_was_migrated_otherwise_is_seen(database):
    async with database.engine.connect() as connection:
        await connection.execute(text("DROP VIEW risk_open_orders"))
        await connection.execute(text("CREATE VIEW risk_open_orders AS SELECT product_id FROM orders"))
        migrated = await definitions(connection, "public")
        found = await declared(connection, views.tables.values())
        assert {name for name in found if migrated[name] != found[name]} == {"risk_open_orders"}


async def test_columns_of_views_have_the_declared_types(database):
    async with database.engine.connect() as connection:
        for table in views.tables.values():
            found = await connection.run_sync(lambda sync, name=table.name: inspect(sync).get_columns(name))
            dialect = connection.dialect
            types = {column["name"]: column["type"].compile(dialect) for column in found}
            # A sum has no bound of its own.
            expected = {column.name: column.type.compile(dialect) for column in table.c}
            loose = {name: "NUMERIC" for name, kind in types.items() if kind == "NUMERIC"}
            assert types == expected | loose, table.name


async def bodies(connection):
    return dict((await connection.execute(text(BODIES))).all())


async def test_every_function_has_an_owner_and_touches_only_what_its_owner_may(database):
    shared = {table.name for table in SHARED}
    async with database.engine.connect() as connection:
        found = await bodies(connection)
    assert set(found) == set(FUNCTIONS)
    for name, body in found.items():
        owner = FUNCTIONS[name].owner
        named = named_in_sql(body)
        assert named.unreadable == [], name
        allowed = set(access_of(owner).names if owner else ()) | shared
        # Of its owner's own tables, in the form that others read.
        allowed |= {"recommendation_terms"} if name == "lock_recommendation" else set()
        assert named.names <= allowed, name


@pytest.mark.parametrize("caller", sorted({caller for function in FUNCTIONS.values() for caller in function.callers}))
async def test_a_function_is_granted_to_those_who_call_it(database, caller):
    """From their code, or from a function of their own."""
    granted = {name for name, function in FUNCTIONS.items() if function.owner and caller in function.callers}
    async with database.engine.connect() as connection:
        found = await bodies(connection)
    called = set(named_in_folder(ROOT / f"svc_{caller}").names)
    for name, function in FUNCTIONS.items():
        if function.owner == caller:
            called |= named_in_sql(found[name]).names
    assert granted <= called


async def test_functions_that_are_given_arrays_plan_once(database):
    """Of an array that the planner sees it plans anew at every call, which takes longer than what is planned."""
    async with database.engine.connect() as connection:
        rows = (
            await connection.execute(
                text("""
                SELECT p.oid::regprocedure::text, coalesce('plan_cache_mode=force_generic_plan' = ANY (p.proconfig), false)
                FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                WHERE p.pronamespace = 'public'::regnamespace AND l.lanname = 'plpgsql'
                  AND EXISTS (SELECT 1 FROM unnest(p.proargtypes) AS given (type) JOIN pg_type t ON t.oid = given.type
                              WHERE t.typcategory = 'A')
                """)
            )
        ).all()
    assert len(rows) >= 4
    assert [name for name, pinned in rows if not pinned] == []
