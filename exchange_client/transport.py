"""HTTPS to one host: certificates verified, every wait bounded, no redirect followed, requests spaced.

Tells apart what matters for an order: `NotSent` (no byte of the request left) and `NoAnswer` (bytes may have left).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

from exchange_client.credentials import Signer
from exchange_client.settings import ExchangeConfig
from exchange_client.throttle import Throttle
from meshkit.errors import Misconfigured
from meshkit.hosts import parse_host, session_proxy

Query = Sequence[tuple[str, str]]

_LARGEST_REPLY = 32 * 1024 * 1024
_CONNECTIONS = 16
# Shorter than servers keep idle connections, so that a request seldom meets one that is just being closed.
_KEEPALIVE_SECONDS = 10.0


class NotSent(Exception):
    """No connection could be made: nothing of the request left this process."""


class NoAnswer(Exception):
    """The request may have been read, and no complete answer came back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer."""

    status: int
    body: bytes


class Transport:
    """One session per process. Private requests are signed; public ones ask caches for fresh data."""

    def __init__(self, config: ExchangeConfig, signer: Signer | None) -> None:
        self._config = config
        self._signer = signer
        self._private = Throttle(config.private_per_second)
        self._public = Throttle(config.public_per_second)
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
        try:
            context = ssl.create_default_context(cafile=self._config.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"the CA file {self._config.ca_file} is not usable: {error}") from error
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

    async def private(self, method: str, path: str, query: Query = (), body: bytes | None = None) -> Reply:
        """One signed request; after a 401, which did nothing, once more with a fresh token."""
        reply = await self._signed(method, path, query, body)
        return await self._signed(method, path, query, body) if reply.status == 401 else reply

    async def _signed(self, method: str, path: str, query: Query, body: bytes | None) -> Reply:
        if self._signer is None:
            raise Misconfigured(f"EXCHANGE_KEY_FILE is not set, and {path} needs an API key")
        await self._private.take()
        headers = {"Authorization": f"Bearer {self._signer.token(method, path)}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._request(method, path, query, body, headers)

    async def _request(
        self, method: str, path: str, query: Query, body: bytes | None, headers: dict[str, str]
    ) -> Reply:
        if self._session is None:
            raise RuntimeError("the exchange client is not open")
        url = URL(f"https://{self._config.host}{path}").with_query(list(query))
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Reply(response.status, await _bounded(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(_words(error)) from error
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise NoAnswer(_words(error)) from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > _LARGEST_REPLY:
            raise aiohttp.ClientPayloadError("the answer is too large")
        parts.append(part)
    return b"".join(parts)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:160]}".rstrip(": ")
