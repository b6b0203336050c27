"""Follows a table by its gapless sequence: the server side of every resumable Watch.

Rows are fetched in bounded batches; a wake-up tells that there may be more. No wake-up is lost between a fetch and the
wait for the next, and a lost notification costs at most one heartbeat, because idling fetches again at heartbeat pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Row = TypeVar("Row")
Sign = TypeVar("Sign")
DEFAULT_BATCH = 200


class Waits(Protocol):
    """What `follow` needs of a wake-up; `meshkit.notify.Wakeup` is one."""

    async def wait(self, timeout: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Rows(Generic[Row]):
    """New rows in order of their sequence; never empty."""

    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Mark(Generic[Sign]):
    """A new sign of progress; every row it covers has been yielded before."""

    sign: Sign


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing new for a heartbeat; `sequence` is the newest row sent."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The server is going away; the last event."""


async def follow(
    fetch: Callable[[int, int], Awaitable[Sequence[Row]]],
    sequence_of: Callable[[Row], int],
    wakeup: Waits,
    after: int,
    heartbeat_seconds: float,
    draining: asyncio.Event,
    batch: int = DEFAULT_BATCH,
    mark: Callable[[], Awaitable[Sign | None]] | None = None,
) -> AsyncIterator[Rows[Row] | Mark[Sign] | Idle | Drain]:
    """Yields everything after sequence `after`, then what comes; ends only by draining or by its reader.

    `mark` reads a sign of progress that is written in the transaction of the rows it covers, or after it; it is read
    before the rows, so what it covers is never still to come.
    """
    loop = asyncio.get_running_loop()
    position, last_sign = after, loop.time()
    told: Sign | None = None
    while not draining.is_set():
        sign = await mark() if mark is not None else None
        rows = await fetch(position, batch)
        if rows:
            newest = sequence_of(rows[-1])
            if newest <= position:
                raise ValueError(f"fetch gave sequence {newest} when asked for rows after {position}")
            position = newest
            yield Rows(list(rows))
            last_sign = loop.time()
            if len(rows) >= batch:
                continue
        if sign is not None and sign != told:
            told, last_sign = sign, loop.time()
            yield Mark(sign)
        # The wake-up is cleared by wait() and never by fetch, so a row committed since the fetch ends the wait at once.
        left = last_sign + heartbeat_seconds - loop.time()
        woken = await _wake_or_drain(wakeup, draining, max(left, 0.0))
        if not woken and not draining.is_set():
            yield Idle(position)
            last_sign = loop.time()
    yield Drain()


async def _wake_or_drain(wakeup: Waits, draining: asyncio.Event, timeout: float) -> bool:
    """True if woken before the timeout; returns early, False, when draining begins."""
    woken = asyncio.ensure_future(wakeup.wait(timeout))
    drained = asyncio.ensure_future(draining.wait())
    try:
        await asyncio.wait({woken, drained}, return_when=asyncio.FIRST_COMPLETED)
        return woken.done() and woken.result()
    finally:
        for task in (woken, drained):
            task.cancel()
        await asyncio.gather(woken, drained, return_exceptions=True)
