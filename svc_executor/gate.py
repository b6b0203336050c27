"""Two small locks: one order is worked on by one task at a time, and balances are compared only while none is. And watches,
which tell how long something has been so.

An order between its send and its record has moved the exchange's balances and not ours; compared then, the books would
look wrong that are right.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager


class KeyedLocks:
    """A lock per key, forgotten when nobody holds or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._locks


class Watches:
    """How long a key has had the value it has; another value, or another process, begins anew."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began: dict[Hashable, tuple[Hashable, float]] = {}

    def age(self, key: Hashable, value: Hashable) -> float:
        """Seconds since this value was seen first, 0 at first sight."""
        now = self._monotonic()
        known = self._began.get(key)
        if known is None or known[0] != value:
            known = self._began[key] = (value, now)
        return now - known[1]

    def forget(self, key: Hashable) -> None:
        """Ends a watch, if there is one."""
        self._began.pop(key, None)


class QuietGate:
    """Many may work at once. Whoever compares needs a time without work: `idle` and `unless_worked` look for one without
    keeping anybody from working; `quiet` makes one, and holds newcomers back for it."""

    def __init__(self) -> None:
        self._working = 0
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with self._door:
            self._working += 1
            self._begun += 1
            self._idle.clear()
        try:
            yield
        finally:
            self._working -= 1
            if self._working == 0:
                self._idle.set()

    async def idle(self, patience_seconds: float) -> int:
        """Waits until nobody works, and gives that moment; TimeoutError if work does not pause in time."""
        async with asyncio.timeout(patience_seconds):
            await self._idle.wait()
        return self._begun

    @asynccontextmanager
    async def unless_worked(self, since: int) -> AsyncIterator[bool]:
        """True, and nobody begins to work meanwhile, if nobody has worked since a moment that `idle` gave."""
        async with self._door:
            yield self._begun == since

    @asynccontextmanager
    async def quiet(self, patience_seconds: float) -> AsyncIterator[None]:
        """TimeoutError if work does not pause within `patience_seconds`. Whatever is waited for inside holds up exits too,
        so it has a bound of its own."""
        async with self._door:
            async with asyncio.timeout(patience_seconds):
                await self._idle.wait()
            yield
