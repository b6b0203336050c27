"""Looks of one position beside a look at all of them, and work that is waited for within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from meshkit.clock import SystemClock
from svc_executor.lingering import Lingering
from svc_executor.look_schedule import LookSchedule


class Quiet:
    """A kit without a database: no bar comes."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.notifications = self
        self.log = SimpleNamespace(warning=lambda *_, **__: None, error=lambda *_, **__: None)
        self.ended = asyncio.Event()

    @asynccontextmanager
    async def subscribe(self, *_: Any, **__: Any) -> AsyncIterator[Quiet]:
        yield self

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def critical(self, work: Any) -> Any:
        return await asyncio.shield(asyncio.ensure_future(work))


async def test_a_position_that_is_asked_for_does_not_wait_for_a_look_at_all() -> None:
    looked: asyncio.Queue[Sequence[str] | None] = asyncio.Queue()
    slow, busy = asyncio.Event(), {"Y-USD"}

    async def look(product_ids: Sequence[str] | None) -> None:
        looked.put_nowait(product_ids)
        if product_ids is None:
            await slow.wait()
            busy.clear()

    schedule = LookSchedule(Quiet(), look, busy.__contains__, 60, lambda: None, lambda: True)  # type: ignore[arg-type]
    running = asyncio.ensure_future(schedule.run())
    try:
        async with asyncio.timeout(5):
            assert await looked.get() is None
            schedule.ask_soon("X-USD")
            schedule.ask_soon("Y-USD")
            assert await looked.get() == ["X-USD"]
            # One at a time looks at all; what somebody works on is looked at after it.
            schedule.ask_all_soon()
            await asyncio.sleep(0.05)
            assert looked.empty()
            slow.set()
            assert await looked.get() is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_work_is_waited_for_within_a_bound_and_goes_on_to_its_end() -> None:
    ended: list[str] = []
    lingering = Lingering(Quiet(), 0.05, ended.append)  # type: ignore[arg-type]
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "done"

    assert await lingering.within("X-USD", work()) is None
    assert "X-USD" in lingering
    assert "Y-USD" not in lingering
    gate.set()
    async with asyncio.timeout(5):
        while not ended:
            await asyncio.sleep(0)
    assert ended == ["X-USD"]
    assert "X-USD" not in lingering
    assert await lingering.within("X-USD", work()) == "done"
    assert ended == ["X-USD"]
