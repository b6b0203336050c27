"""Claims recommendations and processes them, entries and exits apart, within a bound and under leases.

Woken by notifications; a poll of one second is the safety net and serves delays and leases that run out.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import RowMapping

from meshkit import database
from meshkit.kit import Kit
from schema import streams
from svc_orchestrator import store
from svc_orchestrator.processor import RecommendationProcessor
from svc_orchestrator.settings import OrchestratorSettings
from tradekit.states import Side

POLL_SECONDS = 1.0


@dataclass(slots=True)
class Pool:
    """One kind of work: `side` None takes both. `free` bounds how many are processed at once."""

    name: str
    side: Side | None
    size: int
    news: asyncio.Event = field(default_factory=asyncio.Event)
    in_progress: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)


class Workers:
    """The tasks that claim, process and renew."""

    def __init__(
        self,
        settings: OrchestratorSettings,
        kit: Kit[OrchestratorSettings],
        processor: RecommendationProcessor,
        owner: str,
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._processor = processor
        self._owner = owner
        size = settings.orchestrator_concurrency
        self.pools = (
            [Pool("replay", None, 1)]
            if settings.lockstep
            else [Pool("exits", Side.SELL, size), Pool("entries", Side.BUY, size)]
        )

    async def run_pool(self, pool: Pool) -> None:
        """Claims and processes for ever; claims nothing more when the process drains."""
        async with asyncio.TaskGroup() as group:
            while True:
                pool.news.clear()
                claimed = await self._claim(pool)
                for row in claimed:
                    item = row["recommendation_id"]
                    pool.in_progress[item] = group.create_task(self._process(pool, row))
                if claimed and len(pool.in_progress) < pool.size:
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await pool.news.wait()

    async def _claim(self, pool: Pool) -> list[RowMapping]:
        room = pool.size - len(pool.in_progress)
        if room <= 0 or self._kit.draining.is_set():
            return []
        with self.outages("claim", pool=pool.name):
            pulse = await self._pulse()
            if pulse.oldest_open is None:
                return []
            async with self._kit.engine.begin() as connection:
                return await store.claim(
                    connection,
                    self._owner,
                    self._settings.lease_seconds,
                    room,
                    pool.side,
                    pulse.market,
                    self._settings.lockstep,
                    list(pool.in_progress),
                )
        return []

    @contextmanager
    def outages(self, what: str, **facts: str) -> Iterator[None]:
        """Leaves the work inside at a database outage, a pool without a free connection too; the rows stay as they are.

        Raised from here it would take down the tasks beside it, and they would leave their leases behind.
        """
        try:
            yield
        except Exception as error:
            outage = database.as_unavailable(error)
            if outage is None:
                raise
            self._kit.log.warning("outage", work=what, reason=outage.reason, **facts)

    async def _process(self, pool: Pool, row: RowMapping) -> None:
        item = row["recommendation_id"]
        try:
            # After an outage the lease runs out, and the rows say where the item stood.
            with self.outages("process", recommendation_id=str(item)):
                await self._processor.process(row)
                await self._mark()
        except Exception as error:
            # A defect met while leading one item must not stop the others.
            self._kit.log.error("leading_failed", recommendation_id=str(item), exc_info=error)
            with self.outages("requeue", recommendation_id=str(item)):
                await self._processor.after_defect(row, error)
        finally:
            del pool.in_progress[item]
            pool.news.set()

    async def renew_leases(self) -> None:
        """Renews the leases of everything in progress; an item whose lease was lost is let go."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            for pool in self.pools:
                if pool.in_progress:
                    with self.outages("renew", pool=pool.name):
                        await self._renew(pool)

    async def _renew(self, pool: Pool) -> None:
        held = dict(pool.in_progress)
        async with self._kit.engine.begin() as connection:
            kept = await store.renew(connection, self._owner, list(held), self._settings.lease_seconds)
        for item, task in held.items():
            # The same id may have come back meanwhile under a new lease and a new task; that one goes on.
            if item not in kept and pool.in_progress.get(item) is task and task.cancel():
                self._kit.log.info("lease_not_renewed", recommendation_id=str(item))

    async def listen(self, channel: str) -> None:
        """Wakes the pools at every notification of a channel."""
        async with self._kit.notifications.subscribe(channel) as wakeup:
            while True:
                if not await wakeup.wait(60.0):
                    continue
                with self.outages("news", channel=channel):
                    await self._on_news(channel)
                for pool in self.pools:
                    pool.news.set()

    async def _on_news(self, channel: str) -> None:
        if channel == streams.ORDERS:
            async with self._kit.engine.begin() as connection:
                await store.wake_order(connection)
        elif channel == streams.WATERMARKS:
            await self._mark()

    async def _mark(self) -> None:
        mark = (await self._pulse()).own_mark(self._settings.granularity_seconds)
        if mark is not None:
            async with self._kit.engine.begin() as connection:
                await store.advance_own_watermark(connection, mark)

    async def _pulse(self) -> store.Pulse:
        async with self._kit.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            return await store.read_pulse(connection)

    async def release(self) -> None:
        """Gives back what is still claimed when the process goes away."""
        with self.outages("release"):
            async with self._kit.engine.begin() as connection:
                await store.release_all(connection, self._owner)
