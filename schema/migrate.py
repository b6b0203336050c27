"""Brings a database to the newest schema, with a role for each service. Only one process migrates at a time; the others
wait for it.
"""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.roles import bring_roles_up_to_date

# Any fixed number: the advisory lock that stands for "a migration is running".
_LOCK = 7_406_011


def alembic_config(connection: Connection) -> Config:
    """Configuration that needs no file and works on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    command.upgrade(alembic_config(connection), "head")
    bring_roles_up_to_date(connection)


async def migrate(engine: AsyncEngine, deadline_seconds: float = 60) -> None:
    """Upgrades to the newest revision and gives each service's role its rights, in one transaction. Misconfigured if only
    somebody else may make a role; TimeoutError if it takes longer than the deadline.
    """
    async with asyncio.timeout(deadline_seconds), engine.begin() as connection:
        await connection.run_sync(_upgrade)
