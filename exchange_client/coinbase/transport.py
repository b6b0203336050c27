"""HTTPS to one host: certificates verified, every wait bounded, no redirect followed, requests spaced.

Tells apart what matters for an order: `RequestNotSent` (nothing of the request's body left) and `NoAnswer` (it may have left).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from exchange_client.coinbase.credentials import Signer, TokenExpired
from exchange_client.coinbase.settings import PRIVATE_PER_SECOND, PUBLIC_PER_SECOND
from exchange_client.config import ExchangeConfig
from exchange_client.throttle import Throttle
from meshkit.errors import Misconfigured
from meshkit.hosts import parse_host, session_proxy

Query = Sequence[tuple[str, str]]

_LARGEST_REPLY = 32 * 1024 * 1024
_CONNECTIONS = 16
# Shorter than servers keep idle connections, so that a request seldom meets one that is just being closed.
_KEEPALIVE_SECONDS = 10.0


class RequestNotSent(Exception):
    """No connection could be made in time, or the permit was gone: the exchange cannot have got the request."""


class NoAnswer(Exception):
    """The request may have been read, and no complete answer came back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer; `content_type` in lower case, without parameters."""

    status: int
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Send:
    """A body that must not leave at any time: `permit` is asked again when a connection stands and just before the body is
    written; `born` is the wall time at which it was decided, from which its tokens live."""

    body: bytes
    permit: Callable[[], bool]
    born: float


def trust(config: ExchangeConfig) -> ssl.SSLContext:
    """What proves the exchange's hosts. Misconfigured."""
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the CA file {config.ca_file} is not usable: {error}") from error


class _PermittedBody(aiohttp.BytesPayload):
    """Asks the permit in the same step of the event loop in which the bytes are handed to the connection. A request
    without its body is none: the exchange waits for the announced length, and the connection is closed."""

    def __init__(self, send: Send) -> None:
        super().__init__(send.body, content_type="application/json")
        self._permit = send.permit
        # Whether the connection was given any of it.
        self.left = False

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if not self._permit():
            raise PermissionError("the permit to send was withdrawn")
        self.left = True
        await super().write_with_length(writer, content_length)


class Transport:
    """One session per process. Private requests are signed; public ones ask caches for fresh data."""

    def __init__(self, config: ExchangeConfig, signer: Signer | None) -> None:
        self._config = config
        self._signer = signer
        self._private = Throttle(config.private_per_second or PRIVATE_PER_SECOND)
        self._public = Throttle(config.public_per_second or PUBLIC_PER_SECOND)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def open(self) -> None:
        """Reads certificates and makes the session; connects at first use."""
        if self._session is not None:
            return
        context = trust(self._config)
        connector = aiohttp.TCPConnector(ssl=context, limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._config.total_seconds,
                connect=self._config.connect_seconds,
                sock_connect=self._config.connect_seconds,
                sock_read=self._config.read_seconds,
            ),
            # Not trust_env: it would also read ~/.netrc, whose passwords are for nobody here.
            **session_proxy(parse_host(self._config.host)),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def public(self, path: str, query: Query = ()) -> Reply:
        await self._public.take()
        return await self._request("GET", path, query, None, {"Cache-Control": "no-cache"})

    async def private(self, method: str, path: str, query: Query = (), send: Send | None = None) -> Reply:
        """One signed request; after a 401 once more with a fresh token. What the second cannot do, the first may have done."""
        reply = await self._signed(method, path, query, send)
        if reply.status != 401:
            return reply
        try:
            return await self._signed(method, path, query, send)
        except RequestNotSent:
            return reply

    async def _signed(self, method: str, path: str, query: Query, send: Send | None) -> Reply:
        if self._signer is None:
            raise Misconfigured(f"EXCHANGE_KEY_FILE is not set, and {path} needs an API key")
        await self._private.take()
        try:
            token = self._signer.token(method, path, send.born if send else None)
        except TokenExpired:
            raise RequestNotSent("it waited longer than its token may live") from None
        body = _PermittedBody(send) if send is not None else None
        return await self._request(method, path, query, body, {"Authorization": f"Bearer {token}"})

    async def _request(
        self, method: str, path: str, query: Query, body: _PermittedBody | None, headers: dict[str, str]
    ) -> Reply:
        if self._session is None:
            raise RuntimeError("the exchange client is not open")
        url = URL(f"https://{self._config.host}{path}").with_query(list(query))
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Reply(response.status, await _bounded(response), response.content_type)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RequestNotSent(words(error)) from error
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            if body is not None and not body.left:
                raise RequestNotSent(words(error)) from error
            raise NoAnswer(words(error)) from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > _LARGEST_REPLY:
            raise aiohttp.ClientPayloadError("the answer is too large")
        parts.append(part)
    return b"".join(parts)


def words(error: BaseException) -> str:
    """An error in one short line."""
    return f"{type(error).__name__}: {str(error)[:160]}".rstrip(": ")
