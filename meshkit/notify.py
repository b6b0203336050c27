"""Wake-ups from the database: one LISTEN connection per process, shared by every subscriber.

A wake-up says "look again"; all that it may carry is whose news it is, so that others need not look. After every reconnect all
subscribers are woken, because what was notified meanwhile is lost. Truth stays in the tables.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Container
from types import TracebackType
from typing import Any

from meshkit.backoff import Backoff
from meshkit.database import DRIVER_ERRORS
from meshkit.errors import Unavailable

_CHANNEL = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PROBE_SECONDS = 30.0
_COMMAND_SECONDS = 5.0

Connect = Callable[[], Awaitable[Any]]


class Wakeup:
    """A flag that many notifications set once and one waiter clears."""

    def __init__(self, owner: Notifications, channel: str, only: Container[str] | None) -> None:
        self.channel = channel
        self._only = only
        self._owner = owner
        self._flag = asyncio.Event()

    async def __aenter__(self) -> Wakeup:
        self._owner.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.remove(self)

    def wake(self) -> None:
        self._flag.set()

    def wants(self, payload: str) -> bool:
        """Whether a notification with this payload is for it."""
        return self._only is None or payload in self._only

    async def wait(self, timeout: float) -> bool:
        """True if woken since the last wait or within `timeout` seconds; many wake-ups count as one."""
        try:
            async with asyncio.timeout(timeout):
                await self._flag.wait()
        except TimeoutError:
            return False
        self._flag.clear()
        return True


class Notifications:
    """Keeps one LISTEN connection up for all wanted channels; `run` is a task the process owns."""

    def __init__(self, connect: Connect, log: Any, random_source: random.Random | None = None) -> None:
        self._connect = connect
        self._log = log
        self._backoff = Backoff(0.2, 10.0, random_source or random.Random())
        self._wakeups: dict[str, set[Wakeup]] = {}
        self._changed = asyncio.Event()

    def subscribe(self, channel: str, only: Container[str] | None = None) -> Wakeup:
        """A wake-up for `channel`, active inside `async with`; first woken when the database listens.

        With `only`, notifications with other payloads are passed over.
        """
        if not _CHANNEL.fullmatch(channel):
            raise ValueError(f"{channel!r} is no channel name")
        return Wakeup(self, channel, only)

    def add(self, wakeup: Wakeup) -> None:
        self._wakeups.setdefault(wakeup.channel, set()).add(wakeup)
        # A channel that is already listened to may have notified before this subscriber came.
        wakeup.wake()
        self._changed.set()

    def remove(self, wakeup: Wakeup) -> None:
        subscribers = self._wakeups.get(wakeup.channel, set())
        subscribers.discard(wakeup)
        if not subscribers:
            self._wakeups.pop(wakeup.channel, None)
        self._changed.set()

    def wake_all(self) -> None:
        for subscribers in self._wakeups.values():
            for wakeup in subscribers:
                wakeup.wake()

    async def run(self) -> None:
        """Listens for ever; a broken connection is opened again with backoff."""
        while True:
            while not self._wakeups:
                self._changed.clear()
                await self._changed.wait()
            try:
                await self._listen()
            except (Unavailable, OSError, TimeoutError, *DRIVER_ERRORS) as error:
                delay = self._backoff.next_seconds()
                self._log.warning("listen_broken", error=type(error).__name__, retry_in_seconds=round(delay, 2))
                await asyncio.sleep(delay)

    async def _listen(self) -> None:
        async with asyncio.timeout(_COMMAND_SECONDS):
            connection = await self._connect()
        self._backoff.reset()
        lost = asyncio.Event()

        def on_lost(_: object) -> None:
            lost.set()
            self._changed.set()

        connection.add_termination_listener(on_lost)
        try:
            listened: set[str] = set()
            while not lost.is_set():
                self._changed.clear()
                async with asyncio.timeout(_COMMAND_SECONDS):
                    await self._reconcile(connection, listened)
                try:
                    async with asyncio.timeout(_PROBE_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    async with asyncio.timeout(_COMMAND_SECONDS):
                        await connection.execute("SELECT 1")
            raise ConnectionResetError("the LISTEN connection ended")
        finally:
            connection.terminate()

    async def _reconcile(self, connection: Any, listened: set[str]) -> None:
        wanted = set(self._wakeups)
        for channel in wanted - listened:
            await connection.add_listener(channel, self._on_notify)
            listened.add(channel)
            # What was committed before LISTEN took hold was not notified to us.
            for wakeup in self._wakeups.get(channel, ()):
                wakeup.wake()
        for channel in listened - wanted:
            await connection.remove_listener(channel, self._on_notify)
            listened.discard(channel)

    def _on_notify(self, connection: object, pid: int, channel: str, payload: str) -> None:
        for wakeup in self._wakeups.get(channel, ()):
            if wakeup.wants(payload):
                wakeup.wake()
