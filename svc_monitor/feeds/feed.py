"""A feed: the last value of one source, when it was last confirmed, and why it may be old.

A failure never blanks a value: it stays, with its age, until the source answers again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import grpc

from meshkit.backoff import Backoff
from meshkit.errors import MeshError, from_rpc_error
from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.pulse import Pulse

T = TypeVar("T")
CALL_TIMEOUT_SECONDS = 3.0


class Feed(Generic[T]):
    """The last value of a source; it is stale when nothing has confirmed it for `stale_seconds`."""

    def __init__(self, name: str, stale_seconds: float, kit: Kit[Any]) -> None:
        self.name = name
        self.stale_seconds = stale_seconds
        self.value: T | None = None
        self.received_at: datetime | None = None
        self.fault = ""
        self.clock = kit.clock
        self._log = kit.log
        self._steady = 0.0

    def put(self, value: T) -> None:
        """A new value came."""
        self.value = value
        self.confirm()

    def confirm(self) -> None:
        """The source lives, and the value stands."""
        self.received_at = self.clock.now()
        self._steady = self.clock.monotonic()
        if self.fault:
            self._log.info("feed_back", feed=self.name)
            self.fault = ""

    def fail(self, fault: str) -> None:
        """The source did not answer; told once per outage."""
        if not self.fault:
            self._log.warning("feed_lost", feed=self.name, fault=fault)
        self.fault = fault

    @property
    def fresh(self) -> T | None:
        """The value if it is not stale, for decisions; the page shows stale values with their age."""
        if self.received_at is None or self.clock.monotonic() - self._steady > self.stale_seconds:
            return None
        return self.value


def keep(feed: Feed[Any], body: Callable[[], Awaitable[None]]) -> Task:
    """A task that runs `body` again and again, whatever the other side answers; other defects pass."""
    backoff = Backoff(0.5, 5.0, random.Random())

    async def run() -> None:
        while True:
            before = feed.received_at
            try:
                await body()
            except (grpc.aio.AioRpcError, MeshError, TimeoutError) as error:
                found = from_rpc_error(error) if isinstance(error, grpc.aio.AioRpcError) else error
                feed.fail(str(found) or type(found).__name__)
            if feed.received_at != before:
                backoff.reset()
            await asyncio.sleep(backoff.next_seconds())

    return Task(f"feed-{feed.name}", run)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a source is asked: at least `seconds` apart while there is news of what it tells of, else every
    `idle_seconds`. It is left alone for at least `rest` times as long as it took to answer."""

    seconds: float
    idle_seconds: float = 0.0
    rest: float = 0.0


def polled(feed: Feed[T], pace: Pace, ask: Callable[[], Awaitable[T]], news: Pulse | None = None) -> Task:
    """A task that asks a source at its pace; without `news` the faster one."""

    async def body() -> None:
        while True:
            began, seen = feed.clock.monotonic(), news.count if news is not None else 0
            feed.put(await ask())
            pause = max(pace.seconds, pace.rest * (feed.clock.monotonic() - began))
            await asyncio.sleep(pause)
            if news is not None and pace.idle_seconds > pause:
                await news.after(seen, pace.idle_seconds - pause)

    return keep(feed, body)
