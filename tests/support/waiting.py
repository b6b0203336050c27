"""Waits for an outcome instead of a time."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def eventually(check: Callable[[], Any], seconds: float = 240.0) -> Any:
    """What a check gives, awaited where it must be, as soon as that is true; the bound only ends a run that fails."""
    async with asyncio.timeout(seconds):
        while True:
            found = check()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)
