"""Reads a table on by its gapless sequence: the server side of every resumable Watch.

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
    """What `tail` needs of a wake-up; `meshkit.notify.Wakeup` is one."""

    def wake(self) -> None: ...

    async def wait(self, timeout: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Rows(Generic[Row]):
    """New rows in order of their sequence; never empty."""

    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Progress(Generic[Sign]):
    """A new sign of progress; every row it covers has been yielded before."""

    sign: Sign


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing new for a heartbeat; `sequence` is the newest row sent."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The server is going away; the last event."""


async def tail(
    fetch: Callable[[int, int], Awaitable[Sequence[Row]]],
    sequence_of: Callable[[Row], int],
    wakeup: Waits,
    after: int,
    heartbeat_seconds: float,
    draining: asyncio.Event,
    batch: int = DEFAULT_BATCH,
    progress: Callable[[], Awaitable[Sign | None]] | None = None,
    spacing_seconds: float = 0.0,
) -> AsyncIterator[Rows[Row] | Progress[Sign] | Idle | Drain]:
    """Yields everything after sequence `after`, then what comes; ends only by draining or by its reader.

    `progress` reads a sign of progress that is written in the transaction of the rows it covers, or after it; it is read
    before the rows, so what it covers is never still to come.

    A look that found rows is followed by the next no sooner than `spacing_seconds` later: what comes in a burst is read
    together, at the price of that delay.
    """
    loop = asyncio.get_running_loop()
    position, last_sign = after, loop.time()
    next_look = 0.0
    told: Sign | None = None
    bell = loop.create_task(_wake_at_drain(draining, wakeup))
    try:
        while not draining.is_set():
            if (early := next_look - loop.time()) > 0:
                await asyncio.sleep(early)
                # What was notified meanwhile is read by this look.
                await wakeup.wait(0.0)
            sign = await progress() if progress is not None else None
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
                next_look = loop.time() + spacing_seconds
            if sign is not None and sign != told:
                told, last_sign = sign, loop.time()
                yield Progress(sign)
            # The wake-up is cleared by wait() and never by fetch, so a row committed since the fetch ends the wait at once.
            left = last_sign + heartbeat_seconds - loop.time()
            if not await wakeup.wait(max(left, 0.0)) and not draining.is_set():
                yield Idle(position)
                last_sign = loop.time()
        yield Drain()
    finally:
        bell.cancel()


async def _wake_at_drain(draining: asyncio.Event, wakeup: Waits) -> None:
    """One task for all the waits of a watch: a task for each of them would cost more than what it waits for."""
    await draining.wait()
    wakeup.wake()
