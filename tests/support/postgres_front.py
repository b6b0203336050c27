"""What may stand where a database is expected: a thief that asks for the password, or TLS before a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from forwarder import copied

SSL_REQUEST = 80877103
_ASK_IN_CLEAR = b"R" + struct.pack("!ii", 8, 3)


@dataclass
class PostgresFront:
    """`context` offers TLS; `behind` is the socket of a real server, without it the password is asked for in clear."""

    context: ssl.SSLContext | None = None
    behind: Path | None = None
    port: int = 0
    asked: int = 0
    stolen: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first = await self._packet(reader)
            if struct.unpack("!i", first[4:8])[0] == SSL_REQUEST:
                writer.write(b"N" if self.context is None else b"S")
                await writer.drain()
                if self.context is not None:
                    await writer.start_tls(self.context)
                first = await self._packet(reader)
            if self.behind is not None:
                await self._tunnel(first, reader, writer)
                return
            writer.write(_ASK_IN_CLEAR)
            await reader.readexactly(1)
            self.stolen.append((await self._packet(reader))[4:].rstrip(b"\0").decode())
        writer.close()

    async def _packet(self, reader: asyncio.StreamReader) -> bytes:
        size = await reader.readexactly(4)
        return size + await reader.readexactly(struct.unpack("!i", size)[0] - 4)

    async def _tunnel(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(str(self.behind))
        ours.write(first)
        await asyncio.gather(copied(reader, ours), copied(theirs, writer))


@contextlib.asynccontextmanager
async def postgres_front(
    context: ssl.SSLContext | None = None, behind: Path | None = None
) -> AsyncIterator[PostgresFront]:
    """A front that listens on 127.0.0.1, at a port of its own."""
    front = PostgresFront(context, behind)
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0)
    front.port = server.sockets[0].getsockname()[1]
    try:
        yield front
    finally:
        server.close()
