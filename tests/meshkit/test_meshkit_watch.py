"""Watching: every row once and in order, signs of life, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from meshkit.notify import Notifications, Wakeup
from meshkit.watch import Drain, Idle, Rows, tail


def a_wakeup() -> Wakeup:
    """The wake-up of production, without a database behind it."""

    async def never() -> None:
        raise AssertionError("nobody runs these notifications")

    return Notifications(never, None).subscribe("rows")


class Table:
    """Rows 1..n; `fetch` gives control away, so that a writer can slip in between."""

    def __init__(self, wakeup: Wakeup) -> None:
        self.newest = 0
        self.wakeup = wakeup
        self.largest_batch = 0

    def insert(self, count: int = 1) -> None:
        self.newest += count
        self.wakeup.wake()

    async def fetch(self, after: int, limit: int) -> Sequence[int]:
        rows = range(after + 1, min(self.newest, after + limit) + 1)
        self.largest_batch = max(self.largest_batch, len(rows))
        await asyncio.sleep(0)
        return rows


@pytest.mark.parametrize("seed", range(20))
async def test_tail_gives_every_row_once_in_order_while_rows_come(seed: int) -> None:
    """The wake-up of production; the writer gives control away as it likes, so this holds for any scheduler."""
    chance = random.Random(seed)
    steps = [(chance.randint(1, 5), chance.randint(0, 4)) for _ in range(100)]
    total = 120 + sum(count for count, _ in steps)
    wakeup, draining = a_wakeup(), asyncio.Event()
    seen: list[int] = []
    async with wakeup:
        table = Table(wakeup)
        table.insert(120)

        async def writer() -> None:
            for count, pauses in steps:
                table.insert(count)
                for _ in range(pauses):
                    await asyncio.sleep(0)

        task = asyncio.ensure_future(writer())
        async for event in tail(table.fetch, int, wakeup, 0, 30.0, draining, batch=50):
            match event:
                case Rows(rows):
                    seen.extend(rows)
                    if seen[-1] == total:
                        draining.set()
                case Idle(sequence):
                    pytest.fail(f"a wake-up was lost: idle at {sequence} while {table.newest} rows are there")
                case Drain():
                    break
        await task
    assert seen == list(range(1, total + 1))
    assert table.largest_batch <= 50


async def test_tail_idles_at_heartbeat_pace_and_finds_rows_without_a_wakeup() -> None:
    wakeup, draining = a_wakeup(), asyncio.Event()
    table = Table(wakeup)
    table.newest = 3
    events = tail(table.fetch, int, wakeup, 2, 0.02, draining)
    assert await anext(events) == Rows([3])
    assert await anext(events) == Idle(3)
    table.newest = 5  # the notification was lost
    assert await anext(events) == Rows([4, 5])
    draining.set()
    assert await anext(events) == Drain()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_tail_hears_of_draining_while_it_waits() -> None:
    wakeup, draining = a_wakeup(), asyncio.Event()
    events = tail(Table(wakeup).fetch, int, wakeup, 0, 60.0, draining)
    asyncio.get_running_loop().call_later(0.02, draining.set)
    assert await asyncio.wait_for(anext(events), 5) == Drain()


async def test_tail_leaves_no_task_behind_when_its_reader_goes() -> None:
    wakeup = a_wakeup()
    table = Table(wakeup)
    table.insert()
    before = asyncio.all_tasks()
    events = tail(table.fetch, int, wakeup, 0, 60.0, asyncio.Event())
    assert await anext(events) == Rows([1])
    assert asyncio.all_tasks() > before
    await events.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_tail_refuses_a_fetch_that_does_not_move() -> None:
    async def stuck(after: int, limit: int) -> list[int]:
        return [1]

    events = tail(stuck, int, a_wakeup(), 1, 1.0, asyncio.Event())
    with pytest.raises(ValueError, match="after 1"):
        await anext(events)


async def test_a_burst_costs_a_spaced_watcher_one_look_and_loses_nothing() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    wakeup = a_wakeup()
    table = Table(wakeup)
    looks: list[int] = []

    async def fetch(after: int, limit: int) -> Sequence[int]:
        looks.append(after)
        return await table.fetch(after, limit)

    seen: list[int] = []
    events = tail(fetch, lambda row: row, wakeup, 0, 60.0, asyncio.Event(), spacing_seconds=0.2)
    table.insert()

    async def burst() -> None:
        for _ in range(20):
            await asyncio.sleep(0.001)
            table.insert()

    writer = asyncio.create_task(burst())
    async for event in events:
        assert isinstance(event, Rows)
        seen += event.rows
        if len(seen) == 21:
            break
    await writer
    assert seen == list(range(1, 22))
    # Looks are apart, however long the machine took to write what they read.
    assert len(looks) <= 2 + (loop.time() - began) / 0.2
