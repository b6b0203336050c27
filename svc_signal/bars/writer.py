"""Writes a decided bar: signals, what a challenger said, watermark and wake-up in one transaction.

A bar of few products is one statement, one of many a COPY. While the database works at it the watchers' message is made: who
waits for the signals waits for the slower of both, not for their sum.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from schema.streams import Watermark
from svc_signal.bars import store as bar_store
from svc_signal.bars.bar import BarDecisions
from svc_signal.bars.rows import (
    SHADOW_COLUMNS,
    SIGNAL_COLUMNS,
    BarHead,
    number,
    shadow_records,
    signal_columns,
    signal_rows,
    watched_frame,
)
from svc_signal.bars.store import BarRead, BarStore
from svc_signal.signal_watch import PublishedBar
from trading.signal.v1 import signal_service_pb2 as pb

# Up to so many rows a round trip costs more than handing their values over one by one.
ROWS_IN_ONE_STATEMENT = 32


_Written: TypeAlias = tuple[int, pb.WatchSignalsResponse | None]
"""The first sequence, and what watchers get once it is numbered."""


class Overtaken(Exception):
    """Another process moved the watermark while this one was thinking, or decided one of its products; nothing was stored."""


@dataclass(frozen=True, slots=True)
class DecidedBar:
    """A bar to be written. `challenger` is the version that `found.shadow` is of; `watched`: somebody waits for it."""

    head: BarHead
    ids: Mapping[str, UUID]
    found: BarDecisions
    read: BarRead
    challenger: str
    watched: bool

    @property
    def watermark(self) -> datetime | None:
        return self.read.watermark


async def write(connection: AsyncConnection, store: BarStore, bar: DecidedBar) -> PublishedBar | None:
    """Stores the bar; what watchers get, if there are any. Overtaken if another process stored one meanwhile."""
    try:
        return await _written(connection, store, bar)
    except bar_store.StoredAlready:
        raise Overtaken from None


async def _written(connection: AsyncConnection, store: BarStore, bar: DecidedBar) -> PublishedBar | None:
    names = [bar.ids[product] for product in bar.found.products]
    one_statement = 0 < len(names) <= ROWS_IN_ONE_STATEMENT
    if one_statement and bar.found.shadow is None and bar.watermark is not None:
        first, frame = await _few(connection, store, bar, names)
    else:
        async with bar_store.transaction(connection):
            if bar.watermark is None:
                await bar_store.lock_first_bar(connection)
            first, frame = await (_few if one_statement else _many)(connection, store, bar, names)
            if bar.found.shadow is not None:
                shadow = shadow_records(bar.head, bar.found, bar.challenger)
                await bar_store.copy_records(connection, "shadow_signals", SHADOW_COLUMNS, shadow)
    if not names or frame is None:
        return None
    number(frame, first)
    return PublishedBar(first, frame, Watermark(bar.head.as_of, first + len(names) - 1))


async def _few(connection: AsyncConnection, store: BarStore, bar: DecidedBar, names: Sequence[UUID]) -> _Written:
    columns = signal_columns(bar.head, bar.found, names, bar.read.closes)
    writing = store.finish_bar_with(connection, bar.watermark, bar.head.as_of, columns)
    first, frame = await asyncio.gather(writing, _watched(bar, names))
    if first is None:
        raise Overtaken
    return first, frame


async def _many(connection: AsyncConnection, store: BarStore, bar: DecidedBar, names: Sequence[UUID]) -> _Written:
    first = await store.finish_bar(connection, bar.watermark, bar.head.as_of, len(names))
    if first is None:
        raise Overtaken
    if not names:
        return first, None
    rows = signal_rows(bar.head, bar.found, names, bar.read.closes, first)
    copying = bar_store.copy_in(connection, "trading_signals", SIGNAL_COLUMNS, _pieces(rows))
    _, frame = await asyncio.gather(copying, _watched(bar, names))
    return first, frame


async def _pieces(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def _watched(bar: DecidedBar, names: Sequence[UUID]) -> pb.WatchSignalsResponse | None:
    """What watchers get, but for its sequences, which are not known yet; None if nobody watches."""
    return watched_frame(bar.head, bar.found, names, bar.read.closes) if bar.watched else None
