"""The instance's database as a command's own steps reach it, with SQLAlchemy, which is too large for a supervisor to carry."""

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from meshkit.database_link import DatabaseAddress

_CONNECT_SECONDS = 10.0


def database_engine(address: DatabaseAddress) -> AsyncEngine:
    """An engine on the database; each use has a connection of its own."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(**address.arguments("mesh"), timeout=_CONNECT_SECONDS)

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
