"""Reads response streams as a client: ended when left, and opened again when they break.

Leaving an `async for` over a call does not end the call; the server would go on producing for nobody.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from meshkit.backoff import Backoff
from meshkit.errors import from_rpc_error
from meshkit.kit import Kit

SILENCE_SECONDS = 15.0
# Repeating a call that was refused for one of these cannot help; whoever asked must change something.
_FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@asynccontextmanager
async def reading(call: Any) -> AsyncIterator[Any]:
    """The call, cancelled when the block is left, however it is left."""
    try:
        yield call
    finally:
        call.cancel()


async def keep_reading(
    open_call: Callable[[], Any],
    kit: Kit[Any],
    *,
    name: str,
    silence_seconds: float = SILENCE_SECONDS,
    random_source: random.Random | None = None,
) -> AsyncIterator[Any]:
    """Messages of a resumable stream, for ever; `open_call` starts after the newest position its caller has dealt with.

    A break, an end or a silence longer than `silence_seconds` (heartbeats count as life) opens it again with backoff.
    An answer that repetition cannot mend raises MeshError.
    """
    backoff = Backoff(0.2, 10.0, random_source or random.Random())
    while True:
        try:
            async with reading(open_call()) as call:
                while True:
                    async with asyncio.timeout(silence_seconds):
                        message = await call.read()
                    if message is grpc.aio.EOF:
                        reason = "ended by the peer"
                        break
                    backoff.reset()
                    yield message
        except grpc.aio.AioRpcError as error:
            found = from_rpc_error(error)
            if found.code in _FINAL:
                raise found from error
            reason = f"{found.reason}: {found.message}"
        except TimeoutError:
            reason = f"silent for {silence_seconds:g} s"
        delay = backoff.next_seconds()
        kit.log.info("watch_broken", peer=name, reason=reason, retry_in_seconds=round(delay, 2))
        await asyncio.sleep(delay)
