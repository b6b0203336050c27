"""The processes that decide the other shares of the products: waiting for them, and noticing that one is not there."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import Unavailable
from meshkit.kit import Kit
from schema.streams import read_watermark
from svc_signal.shard import STAGE, Shard

# All of them decide the same bar at the same time: what is not there after this will not come by itself.
WAIT_SECONDS = 20.0
_PAUSE_SECONDS = 0.05


async def have_decided(connection: AsyncConnection, as_of: datetime) -> bool:
    """Whether the signals of every product are stored up to the bar that closed at `as_of`."""
    watermark = await read_watermark(connection, STAGE)
    return watermark is not None and as_of <= watermark.as_of


async def until_decided(connection: AsyncConnection, as_of: datetime) -> None:
    """Waits for them; Unavailable if one of the processes is not there or is behind."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if await have_decided(connection, as_of):
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        raise _behind(as_of) from None


class SharesWatch:
    """Notices that this process has been ahead of another share for longer than a bar takes."""

    def __init__(self, kit: Kit[Any], shard: Shard, decided_to: Callable[[], datetime | None]) -> None:
        self._kit = kit
        self._shard = shard
        self._decided_to = decided_to
        self._since: float | None = None

    async def check(self) -> None:
        """A health check of entries: bridge and replay wait for all shares, so where one is away nothing new is bought."""
        as_of = self._decided_to()
        if self._shard.alone or as_of is None:
            return
        async with self._kit.autocommit.connect() as connection:
            if await have_decided(connection, as_of):
                self._since = None
                return
        now = self._kit.clock.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > WAIT_SECONDS:
            raise _behind(as_of)


def _behind(as_of: datetime) -> Unavailable:
    return Unavailable(
        "STALE_DATA",
        f"the signals of the bar that closed at {as_of} are not all there after {WAIT_SECONDS:g} s: another signal process of "
        "SIGNAL_SHARDS is behind, or is not running",
    )
