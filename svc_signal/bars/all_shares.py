"""Waiting for the processes that decide the other shares of the products."""

import asyncio
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import Unavailable
from schema.streams import read_watermark
from svc_signal.shard import STAGE

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
        raise Unavailable(
            "STALE_DATA",
            f"the signals of the bar that closed at {as_of} are not all there after {WAIT_SECONDS:g} s: another signal "
            "process of SIGNAL_SHARDS is behind, or is not running",
        ) from None
