"""A port before another one: what is written to it arrives there, and it can be made to wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class Forwarder:
    """Carries bytes to a port of this machine and back. `carried` counts those that its clients sent."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.carried = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []

    def stall(self) -> None:
        """Ends its connections and lets new ones wait until `go`."""
        self._open.clear()
        for writer in self._writers:
            writer.close()

    def go(self) -> None:
        """Carries again."""
        self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        await self._open.wait()
        answers, there = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, there]
        await asyncio.gather(copied(reader, there, self._count), copied(answers, writer))

    def _count(self, part: bytes) -> None:
        self.carried += len(part)


async def copied(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: Callable[[bytes], object] = bool
) -> None:
    """Copies until the source ends or the target is gone; `seen` receives each part before it is written."""
    with contextlib.suppress(OSError):
        while part := await source.read(1 << 16):
            seen(part)
            target.write(part)
            await target.drain()
        target.close()


@contextlib.asynccontextmanager
async def forwarding(target: int) -> AsyncIterator[Forwarder]:
    """A forwarder at a port of its own."""
    forwarder = Forwarder(target)
    server = await asyncio.start_server(forwarder.serve, "127.0.0.1", 0)
    forwarder.port = server.sockets[0].getsockname()[1]
    try:
        yield forwarder
    finally:
        forwarder.go()
        server.close()
