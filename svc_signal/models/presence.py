"""Shows the other processes which model this one has in service, as long as it has.

A shared advisory lock in the model's name. It ends with its connection, so a process that is gone holds nothing; and whoever
lacks the champion's files does not take its place while somebody serves it.
"""

import asyncio
import hashlib
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit

_SECONDS = 5.0


class Presence:
    """One lock on a connection of its own."""

    def __init__(self, kit: Kit[Any]) -> None:
        self._kit = kit
        self._connection: AsyncConnection | None = None
        self._version: str | None = None

    async def show(self, version: str | None) -> None:
        """Holds the lock of this version and no other; taken again where an outage has ended it."""
        if self._connection is not None and (version != self._version or not await self._alive(self._connection)):
            await self.end()
        if version is None or self._connection is not None:
            return
        connection = await self._kit.autocommit.connect()
        try:
            async with asyncio.timeout(_SECONDS):
                await connection.execute(select(func.pg_advisory_lock_shared(_key(version))))
        except BaseException:
            await connection.invalidate()
            raise
        self._connection, self._version = connection, version

    async def end(self) -> None:
        """Lets go of the lock; the connection ends with it, as a pool would keep both."""
        connection, self._connection, self._version = self._connection, None, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    @staticmethod
    async def _alive(connection: AsyncConnection) -> bool:
        try:
            async with asyncio.timeout(_SECONDS):
                await connection.execute(select(1))
        except Exception:  # however it ended, the lock has ended with it
            return False
        return True


async def is_served(connection: AsyncConnection, version: str) -> bool:
    """Whether another process has this version in service."""
    free = (await connection.execute(select(func.pg_try_advisory_xact_lock(_key(version))))).scalar_one()
    return not free


def _key(version: str) -> int:
    return int.from_bytes(hashlib.sha256(f"model in service: {version}".encode()).digest()[:8], signed=True)
