"""Two locks: one task at a time works on an order, and balances are compared only while nobody works. And watches, which
tell how long something has been so.

An order between its send and its record has moved the exchange's balances and not ours; compared then, a ledger
that is right would look wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager


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

    async def claim(self, key: Hashable) -> AsyncExitStack | None:
        """Holds a key until the stack is left, by whomever it was handed to; at once, or None if somebody has it."""
        if key in self._locks:
            return None
        stack = AsyncExitStack()
        # Nobody has it, so this does not wait.
        await stack.enter_async_context(self.hold(key))
        return stack

    def __contains__(self, key: object) -> bool:
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


class ReadersWriterLock:
    """Many readers share it, or one writer has it alone; a waiting writer goes before new readers.

    A reader works on an order, the writer compares. `free` and `alone_if_free_since` are the writer's optimistic way, which
    keeps no reader waiting; `alone` is the way that makes readers wait.
    """

    def __init__(self) -> None:
        self._readers = 0
        self._entered = 0
        self._free = asyncio.Event()
        self._free.set()
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        with ExitStack() as reader:
            async with self._door:
                reader.enter_context(self.beside())
            yield

    @contextmanager
    def beside(self) -> Iterator[None]:
        """One more reader beside one that is inside and lets it in: it does not wait, and may stay when the other leaves."""
        self._readers += 1
        self._entered += 1
        self._free.clear()
        try:
            yield
        finally:
            self._readers -= 1
            if self._readers == 0:
                self._free.set()

    async def free(self, timeout_seconds: float) -> int:
        """A moment without readers, for `alone_if_free_since`; TimeoutError if none comes in time."""
        async with asyncio.timeout(timeout_seconds):
            # A reader may have entered between the event and this task's turn.
            while self._readers:
                await self._free.wait()
        return self._entered

    @asynccontextmanager
    async def alone_if_free_since(self, moment: int) -> AsyncIterator[bool]:
        """True, and no reader enters meanwhile, if none has entered since `moment`."""
        async with self._door:
            yield self._entered == moment

    @asynccontextmanager
    async def alone(self, timeout_seconds: float) -> AsyncIterator[None]:
        """TimeoutError if the readers do not leave within `timeout_seconds`; those it held back then go on at once.

        Whatever the writer waits for holds up exits too, so it has a bound of its own.
        """
        async with self._door:
            async with asyncio.timeout(timeout_seconds):
                await self._free.wait()
            yield
