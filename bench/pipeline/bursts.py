"""How fast a peer is: calls of which so many are unanswered at once, then one alone after the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


async def burst_and_alone(
    call: Callable[[Item], Awaitable[object]], together: Iterable[Item], at_once: int, singles: Iterable[Item]
) -> tuple[float, list[float]]:
    """Calls per second of `together`, and the seconds of each of `singles`."""
    waiting, done = iter(together), 0

    async def worker() -> None:
        nonlocal done
        for item in waiting:
            await call(item)
            done += 1

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    per_second = done / (time.perf_counter() - began)
    alone = []
    for item in singles:
        began = time.perf_counter()
        await call(item)
        alone.append(time.perf_counter() - began)
    return per_second, alone
