"""Claims recommendations and leads them, entries and exits apart, within a bound and under leases.

Woken by notifications; a poll of one second is the safety net and serves delays and leases that run out.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import RowMapping

from meshkit.errors import MeshError
from meshkit.kit import Kit
from schema import streams
from svc_orchestrator import store
from svc_orchestrator.leader import Leader
from svc_orchestrator.settings import OrchestratorSettings
from tradekit.states import Side

POLL_SECONDS = 1.0


@dataclass(slots=True)
class Pool:
    """One kind of work: `side` None takes both. `free` bounds what is led at once."""

    name: str
    side: Side | None
    size: int
    news: asyncio.Event = field(default_factory=asyncio.Event)
    led: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)


class Workers:
    """The tasks that claim, lead and renew."""

    def __init__(
        self, settings: OrchestratorSettings, kit: Kit[OrchestratorSettings], leader: Leader, owner: str
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._leader = leader
        self._owner = owner
        size = settings.orchestrator_concurrency
        self.pools = (
            [Pool("replay", None, 1)]
            if settings.lockstep
            else [Pool("exits", Side.SELL, size), Pool("entries", Side.BUY, size)]
        )

    async def run_pool(self, pool: Pool) -> None:
        """Claims and leads for ever; claims nothing more when the process drains."""
        async with asyncio.TaskGroup() as group:
            while True:
                pool.news.clear()
                claimed = await self._claim(pool)
                for row in claimed:
                    item = row["recommendation_id"]
                    pool.led[item] = group.create_task(self._lead(pool, row))
                if claimed and len(pool.led) < pool.size:
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await pool.news.wait()

    async def _claim(self, pool: Pool) -> list[RowMapping]:
        room = pool.size - len(pool.led)
        if room <= 0 or self._kit.draining.is_set():
            return []
        try:
            async with self._kit.engine.begin() as connection:
                market = await store.stage_as_of(connection, "market")
                return await store.claim(
                    connection,
                    self._owner,
                    self._settings.lease_seconds,
                    room,
                    pool.side,
                    market,
                    self._settings.lockstep,
                )
        except MeshError as error:
            self._kit.log.warning("claim_failed", pool=pool.name, reason=error.reason)
            return []

    async def _lead(self, pool: Pool, row: RowMapping) -> None:
        item = row["recommendation_id"]
        try:
            await self._leader.lead(row)
            await self._mark()
        except MeshError as error:
            # The database went away under it; the lease runs out and the rows say where it stood.
            self._kit.log.warning("leading_failed", recommendation_id=str(item), reason=error.reason)
        finally:
            del pool.led[item]
            pool.news.set()

    async def renew_leases(self) -> None:
        """Renews the leases of everything led; an item whose lease was lost is let go."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            for pool in self.pools:
                held = list(pool.led)
                if not held:
                    continue
                try:
                    async with self._kit.engine.begin() as connection:
                        kept = await store.renew(connection, self._owner, held, self._settings.lease_seconds)
                except MeshError as error:
                    self._kit.log.warning("renew_failed", reason=error.reason)
                    continue
                for lost in set(held) - kept:
                    task = pool.led.get(lost)
                    if task is not None and not task.done():
                        self._kit.log.info("lease_not_renewed", recommendation_id=str(lost))

    async def listen(self, channel: str) -> None:
        """Wakes the pools at every notification of a channel."""
        async with self._kit.notifications.subscribe(channel) as wakeup:
            while True:
                if not await wakeup.wait(60.0):
                    continue
                try:
                    await self._on_news(channel)
                except MeshError as error:
                    self._kit.log.warning("news_failed", channel=channel, reason=error.reason)
                for pool in self.pools:
                    pool.news.set()

    async def _on_news(self, channel: str) -> None:
        if channel == streams.ORDERS:
            async with self._kit.engine.begin() as connection:
                await store.wake_order(connection)
        elif channel == streams.WATERMARKS:
            await self._mark()

    async def _mark(self) -> None:
        async with self._kit.engine.begin() as connection:
            await store.advance_own_watermark(connection, self._settings.granularity_seconds)

    async def release(self) -> None:
        """Gives back what is still claimed when the process goes away."""
        with suppress(MeshError):
            async with self._kit.engine.begin() as connection:
                await store.release_all(connection, self._owner)
