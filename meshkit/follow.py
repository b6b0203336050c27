"""Follows a peer's stream for ever and deals with every frame before the next: a consumer that writes what it reads.

Only a frame that was dealt with counts as progress. A frame that cannot be, because the database is away, ends the
stream, and backoff keeps it from coming back at once; what the stream had sent is sent again from the consumer's position.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from meshkit.backoff import Backoff
from meshkit.calls import SILENCE_SECONDS, reading
from meshkit.errors import MeshError, from_rpc_error
from meshkit.kit import Kit


class Follower:
    """The task of a consumer. `open_call` begins the stream at the consumer's position; `take` deals with a frame and
    says whether the peer stays (False: it is draining). `following` is true while frames arrive."""

    def __init__(
        self,
        kit: Kit[Any],
        peer: str,
        open_call: Callable[[], Awaitable[Any]],
        take: Callable[[Any], Awaitable[bool]],
    ) -> None:
        self._kit = kit
        self._peer = peer
        self._open_call = open_call
        self._take = take
        self._backoff = Backoff(0.1, 5.0, random.Random())
        self.following = False

    async def run(self) -> None:
        """Follows for ever; breaks are met with backoff."""
        while True:
            try:
                await self._follow()
                reason = "ended by the peer"
            except grpc.aio.AioRpcError as error:
                reason = str(from_rpc_error(error))
            except (TimeoutError, MeshError, asyncio.InvalidStateError) as error:
                reason = f"{type(error).__name__}: {error}"
            finally:
                self.following = False
            delay = self._backoff.next_seconds()
            self._kit.log.info("stream_lost", peer=self._peer, reason=reason, retry_in_seconds=round(delay, 2))
            await asyncio.sleep(delay)

    async def _follow(self) -> None:
        async with reading(await self._open_call()) as call:
            while True:
                # Heartbeats come every 5 s; three missed ones mean a dead stream.
                async with asyncio.timeout(SILENCE_SECONDS):
                    frame = await call.read()
                if frame is grpc.aio.EOF:
                    return
                self.following = True
                if not await self._take(frame):
                    return
                self._backoff.reset()
