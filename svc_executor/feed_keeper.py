"""Keeps one of the exchange's feeds open for ever, and knows whether it can be relied on.

A feed that is lost is opened again after a pause that grows while it does not come to tell anything. Whoever relies on it
asks `whole` and goes on polling while it is not.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from exchange_client import FeedEvent, FeedFault, FeedLost, Ignored, Synchronised
from meshkit.backoff import Backoff
from meshkit.errors import Unavailable
from meshkit.kit import Kit

_RETRY_LOW, _RETRY_HIGH = 0.2, 15.0

Connect = Callable[[], AsyncGenerator[FeedEvent, None] | None]


class FeedKeeper:
    """`connect` opens the feed, or says that there is nothing to follow now. `hear` gets each event, and None when the feed
    is not whole any more; it must not wait."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        hear: Callable[[FeedEvent | None], None],
        kit: Kit[Any],
        silent_seconds: float,
        random_source: random.Random | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._hear = hear
        self._clock = kit.clock
        self._log = kit.log
        self._silent_seconds = silent_seconds
        self._backoff = Backoff(_RETRY_LOW, _RETRY_HIGH, random_source or random.Random())
        self._other = asyncio.Event()
        self._follows = True
        self._ignored_before: set[str] = set()
        self._why = "it has not told anything yet"
        self._told_at = kit.clock.monotonic()
        # Everything is told at the moment, as far as anybody can know.
        self.whole = False
        self._losses = kit.metrics.counter("executor.feed_losses", "Feeds that were lost, by feed and fault")
        self._ignored = kit.metrics.counter(
            "executor.feed_messages_ignored", "Messages that told nothing, by feed and kind"
        )
        self._age = kit.metrics.gauge("executor.feed_age", "How long a feed has not been whole, or told nothing", "s")

    def follow_other(self) -> None:
        """What is to be followed has changed: it is connected anew."""
        self._other.set()

    async def check(self) -> None:
        """A health check: raises where the feed is followed and has told nothing for too long."""
        age = self._clock.monotonic() - self._told_at if self._follows else 0.0
        self._age.set(age, {"feed": self._name})
        if age > self._silent_seconds:
            raise Unavailable("STALE_DATA", f"the feed of {self._name} has told nothing for {age:.0f} s: {self._why}")

    async def run(self) -> None:
        """Never ends by itself."""
        while True:
            self._other.clear()
            feed = self._connect()
            self._note_followed(feed is not None)
            if feed is None:
                await self._other.wait()
                continue
            following = asyncio.ensure_future(self._follow(feed))
            other = asyncio.ensure_future(self._other.wait())
            try:
                await asyncio.wait((following, other), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (following, other):
                    task.cancel()
                results = await asyncio.gather(following, other, return_exceptions=True)
            if self.whole:
                self.whole = False
                self._hear(None)
            if isinstance(results[0], Exception):
                self._note_lost(results[0])
                await self._pause()

    async def _follow(self, feed: AsyncGenerator[FeedEvent, None]) -> None:
        """Raises what the feed ends with."""
        began = self._clock.monotonic()
        async with aclosing(feed) as events:
            async for event in events:
                if isinstance(event, Synchronised):
                    self.whole = True
                    self._log.info("feed_whole", feed=self._name, after=self._why)
                    self._why = ""
                elif isinstance(event, Ignored):
                    self._note_ignored(event)
                if self.whole:
                    self._told_at = self._clock.monotonic()
                    if self._told_at - began > self._silent_seconds:
                        self._backoff.reset()
                self._hear(event)
        raise FeedLost(FeedFault.ENDED, "without a word")

    def _note_followed(self, follows: bool) -> None:
        if follows and not self._follows:
            # It cannot have told anything before.
            self._told_at = self._clock.monotonic()
        self._follows = follows

    def _note_ignored(self, event: Ignored) -> None:
        self._ignored.add(1, {"feed": self._name, "kind": event.why})
        if event.why not in self._ignored_before:
            self._ignored_before.add(event.why)
            self._log.info("feed_message_ignored", feed=self._name, kind=event.why, further="counted only")

    def _note_lost(self, lost: Exception) -> None:
        fault = lost.fault.value if isinstance(lost, FeedLost) else "DEFECT"
        self._losses.add(1, {"feed": self._name, "fault": fault})
        if not isinstance(lost, FeedLost):
            # A defect of ours: orders and prices are asked for, and exits go on.
            self._log.error("feed_failed", feed=self._name, exc_info=lost)
        elif str(lost) != self._why:  # once per outage and fault
            self._log.warning("feed_lost", feed=self._name, fault=fault, why=lost.why)
        self._why = str(lost)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._backoff.next_seconds()):
                await self._other.wait()
        except TimeoutError:
            pass
