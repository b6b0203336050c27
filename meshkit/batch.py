"""Group commit: calls that come while one is at the database, or at another shared place, go together in the next.

A call that finds nobody there goes at once and alone, so waiting costs nothing when there is nothing to share; the busier
the database, the more calls share one transaction. Nobody waits for a batch to fill.

Where calls do not wait for each other anyway (no lock, no order among them), `lanes` may be several, so that one batch that
gets no answer does not hold up all others.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from meshkit.database import as_unavailable, waiting

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

Waiter = tuple[I, "asyncio.Future[O]"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work is done: which errors are its outage, and who notes that somebody waits for it."""

    is_outage: Callable[[Exception], bool]
    waiting: Callable[[], AbstractContextManager[None]]


DATABASE = Place(lambda error: as_unavailable(error) is not None, waiting)


class Batches(Generic[I, O]):
    """Hands waiting items to `work`, at most `most` at a time, urgent ones first, each kind in its order of arrival.

    `work` gives one result for each item, in their order; an exception among them is raised to that item's caller alone. An
    exception out of `work` means that nothing happened. If it is an outage all its items get it; else they are tried one by
    one, so that one that cannot be worked on takes no other with it. `place` is what is waited for: the database unless told.
    `lanes`: batches at once.
    """

    def __init__(
        self,
        work: Callable[[Sequence[I]], Awaitable[Sequence[O | Exception]]],
        most: int,
        place: Place = DATABASE,
        lanes: int = 1,
    ) -> None:
        self._work = work
        self._most = most
        self._place = place
        self._urgent: deque[Waiter[I, O]] = deque()
        self._others: deque[Waiter[I, O]] = deque()
        self._lanes = lanes
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: I, *, urgent: bool = False) -> O:
        """The item's result. A caller that gives up before its item is taken leaves nothing behind; later, the work goes on
        without it. The work runs outside the caller's context: what it needs of that (who calls) is part of the item."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[O] = loop.create_future()
        (self._urgent if urgent else self._others).append((item, result))
        if len(self._tasks) < self._lanes:
            # A task ends with the last item that waits, and every item has a caller that waits for it.
            self._tasks.add(loop.create_task(self._run(), context=contextvars.Context()))
        with self._place.waiting():
            return await result

    async def _run(self) -> None:
        waiters: list[Waiter[I, O]] = []
        try:
            while waiters := self._take():
                await self._hand_over(waiters)
        finally:
            self._tasks -= {asyncio.current_task()}
            # Only a cancelled loop leaves anybody here: who waits is told, and not left waiting.
            left = waiters if self._tasks else (*waiters, *self._urgent, *self._others)
            for _, result in left:
                result.cancel()

    def _take(self) -> list[Waiter[I, O]]:
        waiters: list[Waiter[I, O]] = []
        for queue in (self._urgent, self._others):
            while queue and len(waiters) < self._most:
                waiter = queue.popleft()
                if not waiter[1].done():
                    waiters.append(waiter)
        return waiters

    async def _hand_over(self, waiters: Sequence[Waiter[I, O]]) -> None:
        try:
            results = await self._work([item for item, _ in waiters])
        except Exception as error:
            if len(waiters) > 1 and not self._place.is_outage(error):
                for waiter in waiters:
                    await self._hand_over([waiter])
                return
            results = [error] * len(waiters)
        for (_, answer), result in zip(waiters, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
