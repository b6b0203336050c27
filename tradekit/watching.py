"""The frames of a Watch whose rows have a stage's watermark beside them: batch, watermark, heartbeat, draining.

One body for all of them, so that a position of other books is refused in the same words everywhere, and a client that
resumes one stream can resume any.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import RowMapping

from meshkit import watch
from meshkit.errors import InvalidRequest, Violation
from meshkit.kit import Kit
from tradekit import wire

HEARTBEAT_SECONDS = 5.0


class Mark(Protocol):
    """A stage's watermark: newest market time fully dealt with, and the head of its stream then."""

    @property
    def as_of(self) -> datetime: ...

    @property
    def sequence(self) -> int: ...


class Sequenced(Protocol):
    """A row that a store has made into a type of its own."""

    @property
    def sequence(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Watched:
    """A stream of rows: the channel that wakes, its newest sequence, the rows after one, and the stage's watermark."""

    channel: str
    head: Callable[[], Awaitable[int]]
    rows_after: Callable[[int, int], Awaitable[Sequence[RowMapping | Sequenced]]]
    mark: Callable[[], Awaitable[Mark | None]]


async def frames(
    kit: Kit[Any],
    request: Any,
    watched: Watched,
    response: Callable[..., Any],
    batch: Callable[[list[Any]], Any],
) -> AsyncIterator[Any]:
    """Everything after the request's sequence, then what comes; `batch` makes the message of some rows."""
    after = position(request, await watched.head())
    async with kit.notifications.subscribe(watched.channel) as wakeup:
        events = watch.follow(
            watched.rows_after, _sequence, wakeup, after, HEARTBEAT_SECONDS, kit.draining, mark=watched.mark
        )
        async for event in events:
            if isinstance(event, watch.Rows):
                yield response(batch=batch(event.rows))
            elif isinstance(event, watch.Mark):
                yield response(watermark=wire.watermark_message(event.sign.as_of, event.sign.sequence))
            elif isinstance(event, watch.Idle):
                yield response(heartbeat=wire.heartbeat_message(kit.clock.now(), event.sequence))
            else:
                yield response(draining=wire.draining_message())


def position(request: Any, head: int) -> int:
    """The sequence to begin after; without one, only what is to come. A position of the future is of other books."""
    if not request.HasField("after_sequence"):
        return head
    after = int(request.after_sequence)
    if after > head:
        why = f"is {after}; the newest is {head}, so it was not given by these books"
        raise InvalidRequest([Violation("after_sequence", "INVALID_POSITION", why)])
    return after


def _sequence(row: RowMapping | Sequenced) -> int:
    return int(row["sequence"] if isinstance(row, RowMapping) else row.sequence)
