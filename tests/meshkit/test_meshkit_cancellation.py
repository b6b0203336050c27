"""A task that is asked to end ends, whatever goes wrong while it cleans up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from meshkit import database
from meshkit.background import outlive_outages
from meshkit.cancellation import being_cancelled
from meshkit.errors import Unavailable
from meshkit.kit import Kit
from meshkit.reconnect import Reconnect
from meshkit.spec import Task
from tests.meshkit.toys import settings, toy_running

Body = Callable[[], Awaitable[None]]


async def cut_off() -> None:
    """Waits; when it is cancelled, its clean-up meets a connection that is gone."""
    try:
        await asyncio.sleep(3600)
    finally:
        with database.answering():
            raise asyncpg.InterfaceError("the connection is closed")


async def gone() -> None:
    """As above, with an error that was made somewhere else."""
    try:
        await asyncio.sleep(3600)
    finally:
        raise Unavailable("DEPENDENCY_UNAVAILABLE", "the peer is away")


async def stopped(task: asyncio.Task[Any]) -> bool:
    """Whether a task ends as cancelled."""
    await asyncio.sleep(0.05)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=30)
    return bool(done) and task.cancelled()


async def test_an_outage_does_not_hide_a_cancellation() -> None:
    assert await stopped(asyncio.create_task(cut_off()))
    with pytest.raises(Unavailable), database.answering():
        raise asyncpg.InterfaceError("nobody was cancelled")


@pytest.mark.parametrize("body", [cut_off, gone])
async def test_loops_that_outlive_outages_end_when_they_are_asked_to(body: Body) -> None:
    kit: Kit[Any] = Kit(settings())
    assert await stopped(asyncio.create_task(Reconnect(kit, "peer").run(body)))
    assert await stopped(asyncio.create_task(outlive_outages("loop", body, kit, random.Random(0)).run()))
    await kit.close()


async def test_a_time_limit_is_over_when_it_is_over() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await cut_off()
    assert not being_cancelled()


async def test_a_service_ends_whose_task_took_its_cancellation_for_another_s(toy: Any) -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.sleep(3600)

    async with toy_running(toy, spec={"background": [Task("stubborn", stubborn)]}):
        await asyncio.sleep(0)
    assert swallowed == 2
