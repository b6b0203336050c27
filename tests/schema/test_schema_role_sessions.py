"""A session acts as its role from its first statement on, and a database of the version before gets its roles."""

from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, text

from meshkit import database as kit_database
from meshkit.database_link import DatabaseAddress
from meshkit.errors import Unavailable
from schema.grants import GRANTED, found_grants, wanted_grants
from schema.migrate import alembic_config, migrate
from tests.conftest import engine_of
from tests.meshkit.toys import settings


def toy(database: Any, **changes: Any) -> Any:
    given = {"db_host": database.host, "db_name": database.name, "db_user": database.user, **changes}
    return settings(**given, db_timeout_seconds=5)


async def test_a_session_takes_its_role_on_without_a_statement(database: Any) -> None:
    engine = kit_database.create_engine(toy(database, db_role="mesh_risk"))
    try:
        async with engine.connect() as connection:
            # What a pool resets leaves it.
            for between in ("RESET ALL", "RESET ROLE", "SELECT"):
                await connection.execute(text(between))
                who = await connection.execute(text("SELECT current_user::text, session_user::text"))
                assert who.one() == ("mesh_risk", database.user)
            await connection.rollback()
            with pytest.raises(Exception, match="permission denied for table orders"):
                await connection.execute(text("SELECT FROM orders"))
    finally:
        await engine.dispose()


async def test_a_role_that_cannot_be_taken_on_is_told_with_what_to_do(database: Any) -> None:
    for user, role, words in (
        (database.user, "mesh_nobody", "DB_ROLE=mesh_nobody: the server has no such role"),
        (
            "mesh_risk",
            "mesh_executor",
            "mesh_risk may not act as it; as a superuser run: GRANT mesh_executor TO mesh_risk",
        ),
    ):
        with pytest.raises(Unavailable, match=words):
            await kit_database.connect(toy(database, db_user=user, db_role=role))


def test_the_role_of_a_plan_is_the_role_of_settings() -> None:
    variables = {"DB_HOST": "/run", "DB_NAME": "n", "DB_USER": "u", "DB_ROLE": "mesh_risk"}
    chosen = settings(db_host="/run", db_name="n", db_user="u", db_role="mesh_risk").database_address
    assert chosen == DatabaseAddress.of_variables(variables)
    assert chosen.arguments("x")["server_settings"]["role"] == "mesh_risk"
    assert "role" not in DatabaseAddress.of_variables({**variables, "DB_ROLE": ""}).arguments("x")["server_settings"]


async def test_a_database_of_the_version_before_gets_its_roles(database: Any) -> None:
    """With what it holds, and whatever its tables were granted until then."""

    def as_before(connection: Connection) -> None:
        command.upgrade(alembic_config(connection), "0025")

    owner = database.engine.execution_options(isolation_level="AUTOCOMMIT")
    name = f"{database.name}_old"
    async with owner.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    engine = engine_of(database.host, name)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(as_before)
            await connection.execute(text("UPDATE accounts SET trading_state_note = 'kept'"))
            await connection.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO mesh_monitor"))
        await migrate(engine)
        async with engine.connect() as connection:
            rows = await connection.exec_driver_sql(GRANTED)
            assert found_grants(rows.mappings()) == wanted_grants()
            assert await connection.scalar(text("SELECT trading_state_note FROM accounts")) == "kept"
    finally:
        await engine.dispose()
        async with owner.connect() as connection:
            await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
