"""Keeps a client's stream to a peer open for ever: the one reconnect loop of the mesh.

A break, an end, a silence and a database outage are all met the same way: with backoff and jitter. Only progress resets the
backoff, so a stream that breaks at its first frame does not come back in a tight loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from meshkit.backoff import Backoff
from meshkit.cancellation import heed
from meshkit.database import as_unavailable
from meshkit.errors import DeadlineTooShort, MeshError, Unavailable, from_rpc_error
from meshkit.kit import Kit

LOW_SECONDS, HIGH_SECONDS = 0.1, 5.0


class Reconnect:
    """The loop around one stream to `peer`. `lost` receives the error of every stream that broke, not of one that ended."""

    def __init__(self, kit: Kit[Any], peer: str, lost: Callable[[MeshError], None] | None = None) -> None:
        self._log = kit.log
        self._peer = peer
        self._lost = lost
        self._backoff = Backoff(LOW_SECONDS, HIGH_SECONDS, random.Random())
        self._told = ""

    def progress(self) -> None:
        """The stream does what it is for; after its break the next one is opened soon, and the log tells of the break."""
        self._backoff.reset()
        self._told = ""

    async def run(self, stream: Callable[[], Awaitable[None]]) -> None:
        """Runs `stream`, which lasts from the opening of a stream to its end, again and again. Defects pass."""
        while True:
            try:
                await stream()
                reason = "ended by the peer"
            except Exception as error:
                found = _break_of(error)
                if found is None:
                    raise
                heed(error)
                reason = f"{found.reason}: {found.message}"
                if self._lost is not None:
                    self._lost(found)
            delay = self._backoff.next_seconds()
            if reason != self._told:  # once per outage
                self._told = reason
                self._log.info("stream_lost", peer=self._peer, reason=reason, retry_in_seconds=round(delay, 2))
            await asyncio.sleep(delay)


def _break_of(error: Exception) -> MeshError | None:
    """The error as the break of a stream, None where it is a defect."""
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc_error(error)
    if isinstance(error, MeshError):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineTooShort("nothing came in time", reason="DEPENDENCY_UNAVAILABLE")
    if isinstance(error, asyncio.InvalidStateError | grpc.aio.UsageError):
        # grpc.aio of a call that ended while it was read or written.
        return Unavailable("DEPENDENCY_UNAVAILABLE", f"{type(error).__name__}: {error}")
    return as_unavailable(error)
