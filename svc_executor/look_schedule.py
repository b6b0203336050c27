"""When positions are looked at: all of them at a new bar and on a schedule, and any one whenever it is asked for.

A look at all of them may wait long for the exchange; what is asked for meanwhile has a look of its own, so that the stop of one
position never waits for the bracket of another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from meshkit.errors import MeshError
from meshkit.kit import Kit
from schema import streams
from tradekit import services
from tradekit.units import ProductId

Look = Callable[[Sequence[ProductId] | None], Awaitable[object]]


class LookSchedule:
    """Calls `look` with products, or None for all positions: one look at all of them at a time. `is_busy`: whether somebody works
    on a product, who is waited for first. `poll_seconds`: the shorter pause while something is watched here, else None.
    `is_told`: whether the exchange tells by itself what a poll would ask it for."""

    def __init__(
        self,
        kit: Kit[Any],
        look: Look,
        is_busy: Callable[[ProductId], bool],
        every_seconds: float,
        poll_seconds: Callable[[], float | None],
        is_told: Callable[[], bool],
    ) -> None:
        self._kit = kit
        self._look = look
        self._is_busy = is_busy
        self._every_seconds = every_seconds
        self._poll_seconds = poll_seconds
        self._is_told = is_told
        self._asked: set[ProductId] = set()
        self._all_asked, self._all_due_at = True, 0.0
        self._at_all = False
        # Whether something that was asked for waits for the end of a look.
        self._put_off = False
        self._soon = asyncio.Event()

    def ask_soon(self, product_id: ProductId) -> None:
        """Something happened to a position: it is looked at without waiting for the schedule."""
        self._asked.add(product_id)
        self._soon.set()

    def ask_all_soon(self) -> None:
        """The same for all of them."""
        self._all_asked = True
        self._soon.set()

    def look_ended(self) -> None:
        """What was put off until then is looked at now."""
        if self._put_off:
            self._put_off = False
            self._soon.set()

    async def run(self) -> None:
        """Looks for ever. What fails in a look is tried again at the next one."""
        async with (
            self._kit.notifications.subscribe(streams.WATERMARKS, only=(services.MARKET.name,)) as wakeup,
            asyncio.TaskGroup() as looks,
        ):
            while True:
                self._soon.clear()
                self._begin(looks)
                await self._wait(wakeup)

    def _begin(self, looks: asyncio.TaskGroup) -> None:
        if self._all_asked:
            self._all_due_at = self._kit.clock.monotonic() + self._every_seconds
            if not self._at_all:
                self._all_asked, self._at_all = False, True
                self._asked.clear()
                looks.create_task(self._try(None))
        free = sorted(one for one in self._asked if not self._is_busy(one))
        if free:
            self._asked.difference_update(free)
            looks.create_task(self._try(free))
        self._put_off = self._all_asked or bool(self._asked)

    async def _try(self, product_ids: Sequence[ProductId] | None) -> None:
        try:
            await self._look(product_ids)
        except MeshError as error:
            self._kit.log.warning("positions_not_looked_at", reason=error.reason, why=error.message)
            self._asked.update(product_ids or ())
            self._all_asked |= product_ids is None
        except Exception as error:
            self._kit.log.error("positions_not_looked_at", exc_info=error)
        finally:
            self._at_all &= product_ids is not None
            self.look_ended()

    async def _wait(self, wakeup: Any) -> None:
        """Until there is something to look at. All positions are: at a new bar, after the longer pause, and after the shorter one
        while something is watched here that nobody tells."""
        left = self._all_due_at - self._kit.clock.monotonic()
        bar = asyncio.ensure_future(wakeup.wait(max(left, 0.0)))
        soon = asyncio.ensure_future(self._soon.wait())
        try:
            while True:
                done, _ = await asyncio.wait(
                    (bar, soon), timeout=self._poll_seconds(), return_when=asyncio.FIRST_COMPLETED
                )
                if done or not self._is_told():
                    break
        finally:
            bar.cancel()
            soon.cancel()
        self._all_asked |= not done or bar in done
