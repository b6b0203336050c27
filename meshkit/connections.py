"""How many connections a process may have, and how long one may stay that says nothing.

A socket takes a file descriptor. The soft limit that a process is born with is often 1,024: that many idle sockets of
anybody would keep every new caller out, and the database too.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

# More than any mesh has callers; a lower limit of the system leaves half of it for files, peers and the database.
MOST = 4096
# Until then a caller must have begun to speak: HTTP/2 with its settings (TLS before it), or a whole request of HTTP/1.
HANDSHAKE_SECONDS = 5.0
# Longer than clients keep a connection for their next request: who closes first must not be the server.
IDLE_SECONDS = 75.0
_ENOUGH = 1 << 16


def raise_limit() -> int:
    """Raises the soft limit of file descriptors to the hard one, or to as many as can be of use; gives what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _ENOUGH if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # some systems allow less than they say
        return soft
    return wanted


def most_connections() -> int:
    """Most incoming connections of one server of this process."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft // 2)


@asynccontextmanager
async def listening(
    runner: web.AppRunner, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serves HTTP/1 while the block runs; a connection beyond the bound is closed at once. The runner, which is set up,
    decides by its `keepalive_timeout` how long one may stay silent, also before its first request."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    bound = most_connections()

    def connected() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < bound else _Refused()

    loop = asyncio.get_running_loop()
    handshake_seconds = None if tls is None else HANDSHAKE_SECONDS
    serving = await loop.create_server(connected, sock=listener, ssl=tls, ssl_handshake_timeout=handshake_seconds)
    try:
        yield
    finally:
        serving.close()


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
