"""What a watcher of signals reads: the bar decided just now from memory, everything else from the table.

Only committed rows are published, and a watcher takes them from memory only where they follow what it has; so it gets
what the table holds, in its order, without asking for what this process wrote a moment ago.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from meshkit.kit import Kit
from meshkit.notify import Wakeup
from schema.streams import Watermark, read_watermark
from svc_signal import store
from svc_signal.shard import STAGE
from svc_signal.wire_signals import stored_frame
from trading.signal.v1 import signal_service_pb2 as pb

# A bar is written in a fraction of this, or the database hangs.
_PATIENCE_SECONDS = 1.0
# The database tells the writer of a bar of its own commit too; what there is to read then can wait until the bar is out.
_ECHO_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class PublishedBar:
    """The signals of a bar, in the order of their sequences, as one frame for all watchers; and the watermark that
    covers them."""

    first_sequence: int
    frame: pb.WatchSignalsResponse
    watermark: Watermark

    @property
    def sequences(self) -> range:
        return range(self.first_sequence, self.watermark.sequence + 1)


class SignalTap:
    """The newest bar that this process decided, and who waits for it."""

    def __init__(self) -> None:
        self._waiting: set[Wakeup] = set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._another = asyncio.Event()
        self.newest: PublishedBar | None = None

    @property
    def wanted(self) -> bool:
        """True while anybody watches."""
        return bool(self._waiting)

    def publish(self, bar: PublishedBar) -> None:
        """Shows a bar whose transaction has been committed."""
        self.newest = bar
        self._another.set()
        self._another = asyncio.Event()
        for wakeup in self._waiting:
            wakeup.wake()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While the block lasts, a bar is being written that is published at its end."""
        self._settled.clear()
        try:
            yield
        finally:
            self._settled.set()

    async def settled(self) -> None:
        """Waits until no bar is being written: the database tells of a commit before its writer knows of it, and would
        send every watcher to the table for what is published in a moment."""
        if not self._settled.is_set():
            await _until(self._settled, _PATIENCE_SECONDS)

    async def another(self) -> None:
        """Waits for the next bar, for as long as the database may speak of the one before."""
        await _until(self._another, _ECHO_SECONDS)

    @contextmanager
    def waking(self, wakeup: Wakeup) -> Iterator[None]:
        """Wakes this one too, while the block lasts."""
        self._waiting.add(wakeup)
        try:
            yield
        finally:
            self._waiting.discard(wakeup)


class SignalReader:
    """The reading side of one watcher that has everything up to `position`."""

    def __init__(self, kit: Kit[Any], tap: SignalTap, position: int) -> None:
        self._kit = kit
        self._tap = tap
        self._position = position
        self._taken: PublishedBar | None = None
        self._echo = False
        self._nothing_new = False
        self.frame = pb.WatchSignalsResponse()
        """What `after` told last, as it is sent."""

    async def watermark(self) -> Watermark | None:
        """The stage's watermark."""
        await self._tap.settled()
        bar, echo, self._echo, self._nothing_new = self._fresh(), self._echo, False, False
        if bar is None and echo:
            await self._tap.another()
            await self._tap.settled()
            bar = self._fresh()
        if bar is not None:
            return bar.watermark
        async with self._kit.autocommit.connect() as connection:
            found = await read_watermark(connection, STAGE)
        # What is committed after this comes with another notification.
        self._nothing_new = echo and self._taken is not None and found == self._taken.watermark
        return found

    async def after(self, position: int, limit: int) -> Sequence[int]:
        """The sequences of the signals after a sequence, which are in `frame` then."""
        self._position = position
        bar = self._fresh()
        if bar is not None and len(bar.sequences) <= limit:
            self._taken, self.frame, self._echo = bar, bar.frame, True
            found: Sequence[int] = bar.sequences
        elif self._nothing_new:
            return ()
        else:
            found = await self._stored(position, limit)
        if found:
            self._position = found[-1]
        return found

    async def _stored(self, position: int, limit: int) -> Sequence[int]:
        async with self._kit.autocommit.connect() as connection:
            rows = await store.signals_after(connection, position, limit)
        self.frame = stored_frame(rows)
        return [row.sequence for row in rows]

    def _fresh(self) -> PublishedBar | None:
        """The newest bar, once, if it is what comes next. Whatever another process decided is in the table only."""
        bar = self._tap.newest
        return bar if bar is not self._taken and bar and bar.first_sequence == self._position + 1 else None


async def _until(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
