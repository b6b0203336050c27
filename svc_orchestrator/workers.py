"""Claims recommendations and processes them, entries and exits each within a bound of their own, under leases.

Notifications say what to look for: a proposal is claimed with one statement, and only a watermark, an order that is waited
for, or time (delays, leases that run out) is worth a look at where the pipeline stands.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from meshkit import database
from meshkit.kit import Kit
from schema import streams
from svc_orchestrator import claim_store, store
from svc_orchestrator.claim_store import ClaimedRow
from svc_orchestrator.processor import RecommendationProcessor, beginning, begins_at_claim, log_change
from svc_orchestrator.settings import OrchestratorSettings
from svc_orchestrator.transitions import change_states
from tradekit import services
from tradekit.states import Side

# Delays and leases end by time; where nothing is open this is only the safety net of a lost notification.
POLL_SECONDS = 1.0
IDLE_POLL_SECONDS = 5.0
# Whose watermarks say that something may be claimed, is over, or that the own one may move.
WATCHED_STAGES = (services.MARKET.name, services.BRIDGE.name)
# Entries that are ended at once when their life is over; more of them wait for the next look.
MOST_OVER = 200


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
        self._claims = kit.dedicated()
        self._news = asyncio.Event()
        # What is to be done at the next turn: the first one begins with a look.
        self._look_wanted = True
        self._wake_orders = False
        self._some_claimable = True
        # What the last look showed, and what happened here since.
        self._some_open = True
        self._watermark_behind = True
        self._awaits_order = True
        self._orders_notified = 0
        size = settings.orchestrator_concurrency
        self.pools = (
            [Pool("replay", None, 1)]
            if settings.lockstep
            else [Pool("exits", Side.SELL, size), Pool("entries", Side.BUY, size)]
        )
        self._over = Pool("over", Side.BUY, MOST_OVER)

    async def run(self) -> None:
        """Claims and processes for ever; claims nothing more when the process drains."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                if await self._claim_work(group):
                    continue
                try:
                    async with asyncio.timeout(self._poll_seconds()):
                        await self._news.wait()
                except TimeoutError:
                    self._look_wanted = True

    def _poll_seconds(self) -> float:
        busy = self._some_open or bool(self._held())
        return POLL_SECONDS if busy else IDLE_POLL_SECONDS

    async def _claim_work(self, group: asyncio.TaskGroup) -> bool:
        """One turn. True if more may be claimed at once."""
        look, self._look_wanted = self._look_wanted, False
        wake_orders, self._wake_orders = self._wake_orders, False
        with self.outages("claim"):
            if wake_orders:
                await self._wake_waiting_for_orders()
                self._some_claimable = True
            if look:
                pulse = await self._look()
                # Only ever set here: what was proposed while the look was on its way is not in it.
                self._some_claimable = self._some_claimable or any(pulse.claimable(pool.side) for pool in self.pools)
                if pulse.over and self._over.room > 0 and not self._settings.lockstep:
                    await self._end_those_over(group)
            pools = [pool for pool in self.pools if pool.room > 0]
            if self._some_claimable and pools and not self._kit.draining.is_set():
                return await self._start(group, pools)
        return False

    async def _start(self, group: asyncio.TaskGroup, pools: Sequence[Pool]) -> bool:
        """Claims for these pools and starts what was claimed. True if more may be claimed at once."""
        rooms = [claim_store.Room(pool.side, pool.room) for pool in pools]
        claimed = Counter[int]()
        # Before the claim: what is proposed while it is on its way may not be in it.
        self._some_claimable = False
        for row in await self._claim(rooms):
            at = next(at for at, pool in enumerate(pools) if pool.side in (row.side, None))
            pools[at].in_progress[row.recommendation_id] = group.create_task(self._process(pools[at], row))
            claimed[at] += 1
        # Where there was no more room than was claimed, some may be left for later; elsewhere all there was is taken.
        left = [pool for at, (pool, room) in enumerate(zip(pools, rooms, strict=True)) if claimed[at] >= room.size]
        self._some_claimable = self._some_claimable or bool(left)
        return any(pool.room > 0 for pool in left)

    async def _end_those_over(self, group: asyncio.TaskGroup) -> None:
        """What came in faster than it could be worked on ends when its life does, not when its turn would have come.

        It needs no stage, so it takes no room of a pool from those that do.
        """
        async with self._kit.engine.begin() as connection:
            rows = await claim_store.claim_over(
                connection, self._owner, self._settings.lease_seconds, self._over.room, self._held()
            )
        for row in rows:
            self._over.in_progress[row.recommendation_id] = group.create_task(self._process(self._over, row))

    async def _look(self) -> claim_store.Pulse:
        """Where the pipeline stands; moves the own watermark up to there."""
        async with self._kit.autocommit.connect() as connection:
            pulse = await claim_store.read_pulse(connection)
            watermark = pulse.own_watermark(self._settings.granularity_seconds)
            if watermark is not None:
                await store.advance_own_watermark(connection, watermark)
        reached = watermark or pulse.own
        self._watermark_behind = pulse.bridge is not None and (reached is None or reached < pulse.bridge)
        self._some_open = pulse.oldest_open is not None
        self._awaits_order = pulse.awaits_order
        return pulse

    async def _wake_waiting_for_orders(self) -> None:
        async with self._kit.engine.begin() as connection:
            await claim_store.wake_order(connection)

    def _held(self) -> list[UUID]:
        return [item for pool in (*self.pools, self._over) for item in pool.in_progress]

    async def _claim(self, rooms: Sequence[claim_store.Room]) -> list[ClaimedRow]:
        """Claims, and takes into review what nothing stands against, in one transaction."""
        budget = self._settings.review_budget_per_bar
        async with self._claims.begin() as connection:
            rows = await claim_store.claim(
                connection, self._owner, self._settings.lease_seconds, rooms, self._settings.lockstep, self._held()
            )
            begun = [row for row in rows if begins_at_claim(row, budget)]
            await change_states(connection, self._owner, [beginning(row.recommendation()) for row in begun])
        for row in begun:
            log_change(self._kit, row.recommendation(), beginning(row.recommendation()))
        started = {row.recommendation_id for row in begun}
        return [row.in_review() if row.recommendation_id in started else row for row in rows]

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
        item, notified, ended = row.recommendation_id, self._orders_notified, False
        try:
            # After an outage the lease runs out, and the rows say where the item stood.
            with self.outages("process", recommendation_id=str(item)):
                ended = await self._processor.process(row)
        except Exception as error:
            # A defect met while leading one item must not stop the others.
            self._kit.log.error("leading_failed", recommendation_id=str(item), exc_info=error)
            with self.outages("requeue", recommendation_id=str(item)):
                await self._processor.after_defect(row, error)
        finally:
            del pool.in_progress[item]
            self._look_wanted = self._look_wanted or self._watermark_behind
            if not ended:
                self._some_open = self._awaits_order = True
                # What its order did meanwhile was notified before anybody could know that it is waited for.
                self._wake_orders = self._wake_orders or notified != self._orders_notified
            self._news.set()

    async def renew_leases(self) -> None:
        """Renews the leases of everything in progress; an item whose lease was lost is let go."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            for pool in (*self.pools, self._over):
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
        """Turns every notification of a channel into what is worth doing about it."""
        only = WATCHED_STAGES if channel == streams.WATERMARKS else None
        async with self._kit.notifications.subscribe(channel, only) as wakeup:
            while True:
                if await wakeup.wait(60.0) and self._worth_a_turn(channel):
                    self._news.set()

    def _worth_a_turn(self, channel: str) -> bool:
        if channel == streams.ORDERS:
            self._orders_notified += 1
            self._wake_orders = self._wake_orders or self._awaits_order
            return self._awaits_order
        if channel == streams.WATERMARKS:
            self._look_wanted = True
        else:
            # Open until a look says otherwise: if the claim meets an outage, the next one comes soon.
            self._some_claimable = self._some_open = True
        return True

    async def release(self) -> None:
        """Gives back what is still claimed when the process goes away."""
        with self.outages("release"):
            async with self._kit.engine.begin() as connection:
                await claim_store.release_all(connection, self._owner)
