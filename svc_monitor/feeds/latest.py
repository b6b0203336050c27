"""The newest rows of a watched list: a page to begin with, then every change after it, bounded in number."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import grpc

from meshkit.consumer import Consumer
from meshkit.errors import MeshError
from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds.feed import Feed
from svc_monitor.pulse import Pulse

# Two missed heartbeats.
STALE_SECONDS = 12.0
_FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class Listed(Protocol):
    """A row with an id, a birth and the sequence of its newest change."""

    @property
    def key(self) -> str: ...
    @property
    def created_at(self) -> datetime | None: ...
    @property
    def sequence(self) -> int: ...


L = TypeVar("L", bound=Listed)


def latest(known: Mapping[str, L], changed: Iterable[L], kept: int) -> dict[str, L]:
    """The newest `kept` rows by id, newest first, after these changes; an older change never replaces a newer one."""
    merged = dict(known)
    for row in changed:
        if row.key not in merged or merged[row.key].sequence <= row.sequence:
            merged[row.key] = row
    newest = sorted(merged.values(), key=lambda row: (str(row.created_at or ""), row.sequence), reverse=True)
    return {row.key: row for row in newest[:kept]}


def consumed(
    feed: Feed[dict[str, L]],
    kit: Kit[Any],
    kept: int,
    first_page: Callable[[], Awaitable[Sequence[L]]],
    open_watch: Callable[[int], Any],
    rows_of: Callable[[Any], Sequence[L]],
    news: Pulse,
) -> Task:
    """A task that lists, then watches after the newest sequence it has; `rows_of` reads a frame's batch.

    Whatever changes, rows or a watermark, is news to those who poll. After a refusal that asking again cannot mend, such as a
    position of another database, it lists anew.
    """

    position: int | None = None

    async def open_call() -> Any:
        nonlocal position
        if position is None:
            rows = await first_page()
            feed.put(latest({}, rows, kept))
            position = max((row.sequence for row in rows), default=0)
        return open_watch(position)

    async def take(frame: Any) -> bool:
        nonlocal position
        feed.confirm()
        if frame.WhichOneof("frame") in ("batch", "watermark"):
            news.beat()
        if changed := rows_of(frame):
            feed.put(latest(feed.value or {}, changed, kept))
            position = max(position or 0, changed[-1].sequence)
        return bool(frame.WhichOneof("frame") != "draining")

    def lost(error: MeshError, heard: bool) -> None:
        nonlocal position
        if position is None or error.code in _FINAL:
            feed.fail(str(error) or type(error).__name__)
            position = None

    return Task(f"feed-{feed.name}", Consumer(kit, feed.name, open_call, take, lost=lost).run)
