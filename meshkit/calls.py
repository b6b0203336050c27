"""Calls with a response stream, as a client: ended when left.

Leaving an `async for` over a call does not end the call; the server would go on producing for nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def reading(call: Any) -> AsyncIterator[Any]:
    """The call, cancelled when the block is left, however it is left."""
    try:
        yield call
    finally:
        call.cancel()
