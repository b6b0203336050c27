"""Writes a decided bar: signals, what a challenger said, watermark and wake-up in one transaction.

A bar of few products is one statement. One of many leaves in pieces, and while the database works at a piece, the next
one and the watchers' messages are made: who waits for the signals waits for the slower of both, not for their sum.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy.ext.asyncio import AsyncConnection

from schema.streams import Watermark
from svc_signal.bars import store as bar_store
from svc_signal.bars.bar import BarDecisions
from svc_signal.bars.binary_copy import BLOCK
from svc_signal.bars.rows import (
    SHADOW_COLUMNS,
    SIGNAL_COLUMNS,
    BarHead,
    SignalName,
    shadow_rows,
    signal_columns,
    signal_rows,
    watched_entries,
)
from svc_signal.bars.store import BarRead
from svc_signal.signal_watch import PublishedBar
from svc_signal.wire_signals import frame

# Up to so many rows a round trip costs more than handing their values over one by one.
ROWS_IN_ONE_STATEMENT = 32


class Overtaken(Exception):
    """Another process moved the watermark while this one was thinking; nothing has been stored."""


@dataclass(frozen=True, slots=True)
class DecidedBar:
    """A bar to be written. `challenger` is the version that `found.shadow` is of; `watched`: somebody waits for it."""

    head: BarHead
    names: Mapping[str, SignalName]
    found: BarDecisions
    read: BarRead
    challenger: str
    watched: bool

    @property
    def mark(self) -> datetime | None:
        return self.read.mark


async def write(connection: AsyncConnection, bar: DecidedBar) -> PublishedBar | None:
    """Stores the bar; what watchers get, if there are any. Overtaken if another process stored one meanwhile."""
    names = [bar.names[product] for product in bar.found.products]
    watched: list[bytes] = []
    one_statement = 0 < len(names) <= ROWS_IN_ONE_STATEMENT
    if one_statement and bar.found.shadow is None and bar.mark is not None:
        first = await _few(connection, bar, names, watched)
    else:
        async with bar_store.transaction(connection):
            if bar.mark is None:
                await bar_store.lock_first_bar(connection)
            first = await (_few if one_statement else _many)(connection, bar, names, watched)
            if bar.found.shadow is not None:
                shadow = shadow_rows(bar.head, bar.found, bar.challenger)
                await bar_store.copy_in(connection, "shadow_signals", SHADOW_COLUMNS, _pieces(shadow))
    if not names or not bar.watched:
        return None
    return PublishedBar(first, frame(watched), Watermark(bar.head.as_of, first + len(names) - 1))


async def _few(connection: AsyncConnection, bar: DecidedBar, names: Sequence[SignalName], watched: list[bytes]) -> int:
    """The messages are made while the database works, for the sequences that are the next ones if nobody else writes."""
    columns = signal_columns(bar.head, bar.found, names, bar.read.closes)
    expected = bar.read.signals + 1

    async def entries(first_sequence: int) -> None:
        if bar.watched:
            watched[:] = watched_entries(bar.head, bar.found, names, bar.read.closes, first_sequence)

    writing = bar_store.finish_bar_with(connection, bar.mark, bar.head.as_of, columns)
    first, _ = await asyncio.gather(writing, entries(expected))
    if first is None:
        raise Overtaken
    if first != expected:
        await entries(first)
    return first


async def _many(connection: AsyncConnection, bar: DecidedBar, names: Sequence[SignalName], watched: list[bytes]) -> int:
    first = await bar_store.finish_bar(connection, bar.mark, bar.head.as_of, len(names))
    if first is None:
        raise Overtaken
    if not names:
        return first
    closes = bar.read.closes
    messages = watched_entries(bar.head, bar.found, names, closes, first) if bar.watched else iter(())

    async def pieces() -> AsyncIterator[bytes]:
        for piece in signal_rows(bar.head, bar.found, names, closes, first):
            yield piece
            watched.extend(islice(messages, BLOCK))

    await bar_store.copy_in(connection, "trading_signals", SIGNAL_COLUMNS, pieces())
    return first


async def _pieces(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece
