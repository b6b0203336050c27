"""Claims recommendations and processes them, entries and exits each within a bound of their own, under leases.

Woken by notifications; a poll of one second is the safety net and serves delays and leases that run out.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from meshkit import database
from meshkit.kit import Kit
from schema import streams
from svc_orchestrator import claim_store, store
from svc_orchestrator.claim_store import ClaimedRow
from svc_orchestrator.processor import RecommendationProcessor
from svc_orchestrator.settings import OrchestratorSettings
from tradekit.states import Side

POLL_SECONDS = 1.0


@dataclass(slots=True)
class Pool:
    """One kind of work: `side` None takes both. `size` bounds how many are processed at once."""

    name: str
    side: Side | None
    size: int
    in_progress: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def room(self) -> int:
        return self.size - len(self.in_progress)


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
        self._news = asyncio.Event()
        self._orders_changed = False
        size = settings.orchestrator_concurrency
        self.pools = (
            [Pool("replay", None, 1)]
            if settings.lockstep
            else [Pool("exits", Side.SELL, size), Pool("entries", Side.BUY, size)]
        )

    async def run(self) -> None:
        """Claims and processes for ever; claims nothing more when the process drains."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                if await self._claim_work(group):
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._news.wait()

    async def _claim_work(self, group: asyncio.TaskGroup) -> bool:
        """Claims for all pools by one query of what there is: most notifications bring no work. True if there may be more."""
        more = False
        orders_changed, self._orders_changed = self._orders_changed, False
        with self.outages("claim"):
            pulse = await self._pulse()
            if orders_changed and pulse.awaits_order:
                async with self._kit.engine.begin() as connection:
                    await claim_store.wake_order(connection)
                pulse = await self._pulse()
            await self._move_watermark(pulse)
            for pool in self.pools:
                claimed = await self._claim(pool, pulse)
                for row in claimed:
                    pool.in_progress[row.recommendation_id] = group.create_task(self._process(pool, row))
                more = more or (bool(claimed) and pool.room > 0)
        return more

    async def _claim(self, pool: Pool, pulse: claim_store.Pulse) -> list[ClaimedRow]:
        if pool.room <= 0 or not pulse.claimable(pool.side) or self._kit.draining.is_set():
            return []
        async with self._kit.engine.begin() as connection:
            return await claim_store.claim(
                connection,
                self._owner,
                self._settings.lease_seconds,
                pool.room,
                pool.side,
                pulse.market,
                self._settings.lockstep,
                list(pool.in_progress),
            )

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

    async def _process(self, pool: Pool, row: ClaimedRow) -> None:
        item = row.recommendation_id
        try:
            # After an outage the lease runs out, and the rows say where the item stood.
            with self.outages("process", recommendation_id=str(item)):
                await self._processor.process(row)
        except Exception as error:
            # A defect met while leading one item must not stop the others.
            self._kit.log.error("leading_failed", recommendation_id=str(item), exc_info=error)
            with self.outages("requeue", recommendation_id=str(item)):
                await self._processor.after_defect(row, error)
        finally:
            del pool.in_progress[item]
            self._news.set()

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
            kept = await claim_store.renew(connection, self._owner, list(held), self._settings.lease_seconds)
        for item, task in held.items():
            # The same id may have come back meanwhile under a new lease and a new task; that one goes on.
            if item not in kept and pool.in_progress.get(item) is task and task.cancel():
                self._kit.log.info("lease_not_renewed", recommendation_id=str(item))

    async def listen(self, channel: str) -> None:
        """Has the rows looked at after every notification of a channel."""
        async with self._kit.notifications.subscribe(channel) as wakeup:
            while True:
                if await wakeup.wait(60.0):
                    self._orders_changed = self._orders_changed or channel == streams.ORDERS
                    self._news.set()

    async def _move_watermark(self, pulse: claim_store.Pulse) -> None:
        watermark = pulse.own_watermark(self._settings.granularity_seconds)
        if watermark is not None:
            async with self._kit.engine.begin() as connection:
                await store.advance_own_watermark(connection, watermark)

    async def _pulse(self) -> claim_store.Pulse:
        async with self._kit.reads.connect() as connection:
            return await claim_store.read_pulse(connection)

    async def release(self) -> None:
        """Gives back what is still claimed when the process goes away."""
        with self.outages("release"):
            async with self._kit.engine.begin() as connection:
                await claim_store.release_all(connection, self._owner)
