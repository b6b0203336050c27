"""The server side of every resumable Watch: rows after a sequence, then what comes, as frames of its contract.

One body for all of them, so that a position of another database is refused in the same words everywhere, and a client that
resumes one stream can resume any.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

from meshkit import watch
from meshkit.errors import InvalidRequest, Violation
from meshkit.kit import Kit
from meshkit.notify import Wakeup
from tradekit import wire

Row = TypeVar("Row")
HEARTBEAT_SECONDS = 5.0
# People and their programs see a change within a twentieth of a second; a burst of changes costs them one look.
SPACING_SECONDS = 0.05
# Of rows that go through several states only the newest is told, so a watcher of these is told of it when they rest.
ROW_SPACING_SECONDS = 0.25


class Watermark(Protocol):
    """A stage's watermark: newest market time fully dealt with, and the head of its stream then."""

    @property
    def as_of(self) -> datetime: ...

    @property
    def sequence(self) -> int: ...


def by_the_channel_only(wakeup: Wakeup) -> AbstractContextManager[None]:
    """Nobody but the channel wakes the watcher."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Watched(Generic[Row]):
    """What a Watch watches: the channel that wakes, the rows after a sequence (at most a number of them), and the frame of
    some rows.

    `watermark` is the stage's, read in the order that `meshkit.watch.tail` demands; None for a stage without one. `waking`
    lets somebody in this process wake the watcher too, for as long as it watches. Looks that found something are apart by
    `spacing_seconds`: 0 where a service works on what it watches.
    """

    channel: str
    rows_after: Callable[[int, int], Awaitable[Sequence[Row]]]
    frame: Callable[[Sequence[Row]], Any]
    watermark: Callable[[], Awaitable[Watermark | None]] | None = None
    sequence_of: Callable[[Row], int] = attrgetter("sequence")
    batch: int = watch.DEFAULT_BATCH
    waking: Callable[[Wakeup], AbstractContextManager[None]] = by_the_channel_only
    spacing_seconds: float = SPACING_SECONDS


async def frames(kit: Kit[Any], after: int, watched: Watched[Row], response: Callable[..., Any]) -> AsyncIterator[Any]:
    """Everything after a sequence that `position` gave, then what comes, until the server drains."""
    async with kit.notifications.subscribe(watched.channel) as wakeup:
        with watched.waking(wakeup):
            events = watch.tail(
                watched.rows_after,
                watched.sequence_of,
                wakeup,
                after,
                HEARTBEAT_SECONDS,
                kit.draining,
                watched.batch,
                watched.watermark,
                watched.spacing_seconds,
            )
            async for event in events:
                if isinstance(event, watch.Rows):
                    yield watched.frame(event.rows)
                elif isinstance(event, watch.Progress):
                    yield response(watermark=wire.watermark_message(event.sign.as_of, event.sign.sequence))
                elif isinstance(event, watch.Idle):
                    yield response(heartbeat=wire.heartbeat_message(kit.clock.now(), event.sequence))
                else:
                    yield response(draining=wire.draining_message())


def position(request: Any, head: int) -> int:
    """The sequence to begin after; without one, only what is to come. A position of the future is of another database."""
    if not request.HasField("after_sequence"):
        return head
    after = int(request.after_sequence)
    if after > head:
        why = f"is {after}; the newest is {head}, so it was not given by this database"
        raise InvalidRequest([Violation("after_sequence", "INVALID_POSITION", why)])
    return after
