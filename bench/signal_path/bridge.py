"""The bridge as a process of its own behind the signal service: from a complete bar to its recommendations stored."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from bench.signal_path.service import Service, free_port
from schema import streams
from tradekit.services import database_role

_STORED = "SELECT count(*) FROM signal_outcomes WHERE as_of = $1"
_RECOMMENDED = "SELECT count(*) FROM trade_recommendations WHERE as_of = $1"
# Nobody reviews them here, and what is open keeps its product from being recommended again.
_END = "UPDATE trade_recommendations SET state = 'EXPIRED' WHERE state = 'PROPOSED'"
_LIMIT = 120.0


@dataclass(frozen=True)
class BridgeFigures:
    """Milliseconds from a bar's completion until every signal's outcome and every recommendation of it is committed.

    `recommended`: recommendations of a bar, the median.
    """

    products: int
    shards: int
    bars: int
    median: float
    least: float
    worst: float
    recommended: float


class Outcomes:
    """What the bridge has committed, as a client of the database is told of it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._news = asyncio.Event()

    def notified(self, *_: object) -> None:
        self._news.set()

    async def stored(self, as_of: datetime, signals: int) -> int:
        """Returns when so many signals of the bar have their outcome; the number of its recommendations."""
        async with asyncio.timeout(_LIMIT):
            while await self._connection.fetchval(_STORED, as_of) < signals:
                await self._news.wait()
                self._news.clear()
        return int(await self._connection.fetchval(_RECOMMENDED, as_of))

    async def end_open(self) -> None:
        await self._connection.execute(_END)


@asynccontextmanager
async def bridge(environment: dict[str, str], signal_port: int, log: Path) -> AsyncIterator[Outcomes]:
    """The bridge while the block runs. It listens on a port that nobody calls."""
    own = {
        **environment,
        "DB_USER": database_role("bridge"),
        "BRIDGE_PORT": str(free_port()),
        "SIGNAL_ADDRESS": f"127.0.0.1:{signal_port}",
        "ENTRY_COOLDOWN_BARS": "0",
    }
    listener = await asyncpg.connect(host=environment["DB_HOST"], user="postgres", database=environment["DB_NAME"])
    outcomes = Outcomes(listener)
    # Every frame is notified here: where it makes no recommendation, by the bridge's watermark after it.
    await listener.add_listener(streams.RECOMMENDATIONS, outcomes.notified)
    service = Service("svc_bridge", own, log)
    try:
        yield outcomes
    finally:
        await asyncio.to_thread(service.stop)
        await listener.close()


def figures(products: int, shards: int, milliseconds: list[float], recommended: list[int]) -> BridgeFigures:
    """Of one run."""
    return BridgeFigures(
        products,
        shards,
        len(milliseconds),
        statistics.median(milliseconds),
        min(milliseconds),
        max(milliseconds),
        statistics.median(recommended),
    )
