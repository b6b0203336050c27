"""Bounds the calls to a model server: so many at once, so many waiting, and no more.

The server's own queue holds hundreds of requests for minutes; here a review that finds no place is refused at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """No place is left in the queue."""


class ConcurrencyLimiter:
    """At most `at_once` inside and `waiting` before the door, first come, first served."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._places = at_once + waiting
        self._taken = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn; Full if the queue is. The caller sets the time limit."""
        if self._taken >= self._places:
            raise Full
        self._taken += 1
        try:
            async with self._turns:
                yield
        finally:
            self._taken -= 1
