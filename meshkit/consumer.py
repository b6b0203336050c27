"""Consumes a peer's stream for ever and deals with every message before it reads the next.

Only a message that was dealt with counts as progress. One that cannot be, because the database is away, ends the stream;
what the stream had sent is sent again from the consumer's position when it opens the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from meshkit.calls import reading
from meshkit.errors import MeshError, Unavailable
from meshkit.kit import Kit
from meshkit.reconnect import Reconnect
from meshkit.spec import Task

# Of a peer that sends a heartbeat every 5 s, three missed ones mean a dead stream.
SILENCE_SECONDS = 15.0
FIRST_SECONDS = 15.0


class Consumer:
    """One stream from `peer`.

    `open_call` begins the stream at the position that its owner keeps; `take` deals with a message and says whether the peer
    stays (False: it is draining). The call must open and bring its first message within FIRST_SECONDS, every other within
    `silence_seconds`; None is for a peer that sends no heartbeats. `lost` receives the error of every break, and whether the
    broken stream had brought a message.
    """

    def __init__(
        self,
        kit: Kit[Any],
        peer: str,
        open_call: Callable[[], Awaitable[Any]],
        take: Callable[[Any], Awaitable[bool]],
        *,
        silence_seconds: float | None = SILENCE_SECONDS,
        lost: Callable[[MeshError, bool], None] | None = None,
    ) -> None:
        self.peer = peer
        self._open_call = open_call
        self._take = take
        self._silence_seconds = silence_seconds
        self._lost = lost
        self._reconnect = Reconnect(kit, peer, self._on_break)
        self._heard = False
        self._connected = False

    @property
    def connected(self) -> bool:
        """True from the first message of a stream to its end."""
        return self._connected

    async def check(self) -> None:
        """A health check for `entries`: Unavailable while the stream is not open."""
        if not self._connected:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", f"the {self.peer} stream is not open")

    def task(self) -> Task:
        """The task that the process must own."""
        return Task(f"consume-{self.peer}", self.run)

    async def run(self) -> None:
        """Consumes for ever."""
        await self._reconnect.run(self._consume)

    async def _consume(self) -> None:
        self._heard = False
        try:
            async with asyncio.timeout(FIRST_SECONDS) as opening, reading(await self._open_call()) as call:
                message = await call.read()
                opening.reschedule(None)
                while message is not grpc.aio.EOF:
                    self._heard = self._connected = True
                    if not await self._take(message):
                        return
                    self._reconnect.progress()
                    async with asyncio.timeout(self._silence_seconds):
                        message = await call.read()
        finally:
            self._connected = False

    def _on_break(self, error: MeshError) -> None:
        if self._lost is not None:
            self._lost(error, self._heard)
