"""Carries out one cell: waits until the order of interest comes to the point, does there what the cell says, and brings back
who was killed. It stands at the proxy's gate, and at the door of the record by the account lock, so that a point is met and
not guessed by a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.chaos.feed_way import FrameFault
from tests.chaos.grid import Death, Point, Sessions
from tests.chaos.plan import ChaosPlan
from tests.drill.faults import PASS, Fault
from tests.drill.proxy import ORDERS, Moment, Passage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chaos.lane import Lane

CANCELS = f"{ORDERS}/batch_cancel"
_HISTORICAL = f"{ORDERS}/historical/"
_SNAPSHOT = '"snapshot"'
_BRACKET = "trigger_bracket_gtc"
# How long the record is waited for; an order whose record does not come is none that has this point.
_RECORD_SECONDS = 15.0
_LOOK_SECONDS = 0.005
# Longer than a statement of the executor may take.
_LOCKED_SECONDS = 3.5
_WAITING = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND query LIKE '%lock_orders%'"""
_OTHERS = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'chaos'"""
_RECORDED = "SELECT 1 FROM orders WHERE order_id = $1::text::uuid AND exchange_order_id IS NOT NULL AND sent_at IS NULL"


class Injection:
    """One per run. `struck`: the point was met and the cell carried out."""

    def __init__(self, plan: ChaosPlan, lane: Lane) -> None:
        self._plan = plan
        self._cell = plan.cell
        self._lane = lane
        self._target: str | None = None
        self._armed = False
        self._left = plan.times
        self._seen: Passage | None = None
        # Whether the order that is reconciled, or recorded, has been sent.
        self._sent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.struck = asyncio.Event()

    def arm(self, order_id: str | None) -> None:
        """From now on, for this order's requests; None: for whichever request comes to the point first."""
        self._armed, self._target = True, order_id

    async def finish(self) -> None:
        """Nothing is injected any more; returns when whoever was killed has been started again."""
        self._armed = False
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done
            for task in done:
                task.result()

    # ---- the gate ----------------------------------------------------------------------------------------------------

    def fault_of(self, passage: Passage) -> Fault | None:
        """The cell's fault for a request at the point, as often as the plan says."""
        if not self._armed:
            return None
        if self._cell.point is Point.IN_RECONCILE and not self._sent and self._is_send(passage):
            return self._plan.doubt
        if not self._at_point(passage) or not self._left:
            return None
        self._left -= 1
        return self._cell.trouble.fault

    async def at(self, passage: Passage, moment: Moment) -> None:
        """Holds the request while what is to happen now happens."""
        if not self._armed:
            return
        in_feed = self._cell.point is Point.IN_FEED_GAP
        if self._seen is None and (self._is_send(passage) if in_feed else self._at_point(passage)):
            self._seen = passage
            if self._cell.trouble.habits:
                await self._done(self._lane.habits(**self._cell.trouble.habits))
        if not in_feed and passage is self._seen and moment is self._plan.moment:
            await self._reached()
        if moment is Moment.DELIVERED and not self._sent and self._is_send(passage):
            self._sent = True
            await self._after_send()

    def _at_point(self, passage: Passage) -> bool:
        """Whether this request is one of those that the cell is about."""
        path = passage.path
        match self._cell.point:
            case Point.IN_CANCEL:
                return path == CANCELS
            case Point.IN_BRACKET:
                return path == ORDERS and _BRACKET in passage.body
            case Point.IN_RECONCILE:
                return self._sent and path.endswith(self._plan.read)
            case Point.BEFORE_RECORD:
                return self._sent and self._cell.trouble.fault is not PASS and path.startswith(_HISTORICAL)
            case Point.AFTER_RECORD | Point.IN_FEED_GAP:
                return False
        return self._is_send(passage)

    def _is_send(self, passage: Passage) -> bool:
        return passage.path == ORDERS and passage.client_order_id == self._target

    # ---- the feed ----------------------------------------------------------------------------------------------------

    async def frame(self, text: str) -> FrameFault:
        """The cell's fault for what the feed says of the order, as often as the plan says."""
        if not self._armed or self._cell.point is not Point.IN_FEED_GAP or not self._left or not self._tells(text):
            return FrameFault.PASS
        self._left -= 1
        if not self.struck.is_set():
            await self._reached()
        return self._cell.trouble.frame

    def refuses_feeds(self) -> bool:
        """A few times after the first that was ended so."""
        if not self._armed or self._cell.trouble.frame is not FrameFault.REFUSED or not self.struck.is_set():
            return False
        self._left -= 1
        return self._left >= 0

    def _tells(self, text: str) -> bool:
        return self._target is not None and self._target in text and _SNAPSHOT not in text

    # ---- what happens ------------------------------------------------------------------------------------------------

    async def _reached(self) -> None:
        delay = self._plan.delay
        if delay is None:
            await self._done(self._strike())
        else:
            self._start(self._strike_after(delay))

    async def _strike_after(self, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._strike()

    async def _after_send(self) -> None:
        """The exchange has the order, and the executor does not know yet."""
        if self._cell.point is Point.AFTER_RECORD:
            self._start(self._when_recorded())
        elif self._cell.point is Point.BEFORE_RECORD and self._cell.trouble.fault is PASS:
            door = self._account_locked()
            await door.__aenter__()
            self._start(self._at_the_door(door))

    @asynccontextmanager
    async def _account_locked(self) -> AsyncIterator[None]:
        """Whoever wants to record waits, in the middle of its transaction."""
        connection = await self._lane.connect()
        try:
            await connection.execute("BEGIN")
            await connection.execute("SELECT lock_account()")
            yield
        finally:
            connection.terminate()

    async def _at_the_door(self, door: Any) -> None:
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                while not (waiting := await self._lane.fetch(_WAITING)):
                    await asyncio.sleep(_LOOK_SECONDS)
            await self._strike([row["pid"] for row in waiting])
            if self._cell.trouble.sessions is Sessions.LOCKED_OUT:
                await asyncio.sleep(_LOCKED_SECONDS)
        except TimeoutError:
            pass  # it did not come to its record; the report says that the point was not met
        finally:
            await door.__aexit__(None, None, None)

    async def _when_recorded(self) -> None:
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                while not await self._lane.fetch(_RECORDED, self._target):
                    await asyncio.sleep(_LOOK_SECONDS)
            await self._strike([row["pid"] for row in await self._lane.fetch(_OTHERS)])
        except TimeoutError:
            pass

    async def _strike(self, sessions: list[int] | None = None) -> None:
        """`sessions`: of the executor, which the trouble may be about."""
        if self.struck.is_set() or not self._armed:
            return
        self.struck.set()
        if self._cell.trouble.caller_leaves:
            self._lane.operator.hang_up()
        if self._cell.trouble.sessions is Sessions.CUT:
            await self._lane.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", sessions or [])
        if self._cell.death is not Death.NONE:
            await self._lane.kill(self._cell.death)
            self._start(self._bring_back())

    async def _bring_back(self) -> None:
        await asyncio.sleep(self._plan.down_seconds)
        await self._lane.revive(self._cell.death)
        if self._plan.again is not None:
            await asyncio.sleep(self._plan.again)
            await self._lane.kill(Death.EXECUTOR)
            await self._lane.revive(Death.EXECUTOR)

    async def _done(self, work: Coroutine[Any, Any, None]) -> None:
        """Waits for work that goes on when the waiting ends: who is killed hangs up, and whoever carried its words is cancelled
        then, but not what brings it back."""
        await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work whose failure `finish` raises."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task
