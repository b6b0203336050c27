"""The exchange's WebSocket: one connection for each feed, its host proven, every wait bounded.

It only carries: what the frames mean, and when they mean that the connection is no good, says `feed_reader`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, WSMsgType

from exchange_client.coinbase.credentials import Signer
from exchange_client.coinbase.feed_reader import HEARTBEATS, TICKER, USER, FeedReader
from exchange_client.coinbase.settings import LIVE_HOST, LIVE_MARKET_FEED, LIVE_ORDER_FEED, SANDBOX_HOST
from exchange_client.coinbase.transport import trust, words
from exchange_client.config import ExchangeConfig
from exchange_client.feed import FeedEvent, FeedFault, FeedLost
from meshkit.hosts import Host, parse_host, session_proxy
from tradekit.units import ProductId

Socket = aiohttp.ClientWebSocketResponse[bool]

# A snapshot of 50 orders is some 50 KiB.
_LARGEST_FRAME = 4 * 1024 * 1024
_CLOSE_SECONDS = 1.0


class CoinbaseFeeds:
    """`exchange_client.feed.Feeds` of Coinbase, or of a host that speaks like it."""

    def __init__(
        self,
        config: ExchangeConfig,
        signer: Signer | None,
        silent_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._signer = signer
        self._silent_seconds = silent_seconds
        self._monotonic = monotonic
        self._trust = trust(config)

    def orders(self) -> AsyncGenerator[FeedEvent, None]:
        """Changes of the account's orders: all products, as the list of a connection cannot be changed."""
        return self._follow(_address(self._config.host, USER), USER, ())

    def prices(self, product_ids: Iterable[ProductId]) -> AsyncGenerator[FeedEvent, None]:
        """Best bids, told with each match and so as old as the newest match."""
        return self._follow(_address(self._config.host, TICKER), TICKER, tuple(product_ids))

    async def _follow(
        self, address: tuple[Host, str], channel: str, product_ids: tuple[ProductId, ...]
    ) -> AsyncGenerator[FeedEvent, None]:
        try:
            async with self._connected(*address) as socket:
                reader = FeedReader(channel, product_ids, self._silent_seconds, self._monotonic())
                async with asyncio.timeout(self._config.total_seconds):
                    # The exchange closes what follows nothing within five seconds. The channel comes last, as its snapshot counts
                    # once both are confirmed.
                    for name, of_products in ((HEARTBEATS, ()), (channel, product_ids)):
                        await self._subscribe(socket, name, of_products, signed=channel == USER)
                while True:
                    reading = reader.read(await self._frame(socket, reader), self._monotonic())
                    for event in reading.events:
                        yield event
                    if reading.loss is not None:
                        raise reading.loss
        except aiohttp.WSServerHandshakeError as error:
            raise FeedLost(FeedFault.REFUSED, f"the handshake was answered with {error.status}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FeedLost(FeedFault.ENDED, words(error)) from error

    @asynccontextmanager
    async def _connected(self, host: Host, path: str) -> AsyncIterator[Socket]:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust, limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._config.connect_seconds),
            middlewares=(_as_asked,),
            **session_proxy(host),
        )
        async with session:
            async with asyncio.timeout(self._config.total_seconds):
                socket = await session.ws_connect(
                    f"wss://{host}{path}",
                    max_msg_size=_LARGEST_FRAME,
                    decode_text=False,
                    timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=_CLOSE_SECONDS),
                )
            try:
                yield socket
            finally:
                await socket.close()

    async def _subscribe(
        self, socket: Socket, channel: str, product_ids: tuple[ProductId, ...], *, signed: bool
    ) -> None:
        """Each message of an account's feed has a token of its own; the market's needs none."""
        message: dict[str, object] = {"type": "subscribe", "channel": channel, "product_ids": list(product_ids)}
        if signed:
            if self._signer is None:
                raise FeedLost(FeedFault.REFUSED, "EXCHANGE_KEY_FILE is not set, and orders need an API key")
            message["jwt"] = self._signer.socket_token()
        await socket.send_str(json.dumps(message))

    async def _frame(self, socket: Socket, reader: FeedReader) -> bytes:
        """The next frame, or FeedLost."""
        try:
            async with asyncio.timeout(reader.left(self._monotonic())):
                message = await socket.receive()
        except TimeoutError:
            lost = reader.silence(self._monotonic())
            # The two clocks may differ by a tick.
            raise lost or FeedLost(FeedFault.SILENT, f"nothing for {self._silent_seconds:g} s") from None
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY) and isinstance(message.data, bytes):
            return message.data
        raise FeedLost(
            FeedFault.ENDED, f"{message.type.name} {str(message.data)[:80]} {str(message.extra or '')[:80]}".strip()
        )


async def _as_asked(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Ends a handshake that is sent elsewhere: what is subscribed goes to the exchange's host and to no other."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info, response.history, status=response.status, message="redirected"
        )
    return response


def has_feeds(host: str) -> bool:
    """The sandbox has no WebSocket."""
    return parse_host(host) != SANDBOX_HOST


def _address(host: str, channel: str) -> tuple[Host, str]:
    """Host and path of a feed: the real exchange has hosts of their own for it, a simulated one has all on one port."""
    if parse_host(host) == LIVE_HOST:
        return (LIVE_ORDER_FEED if channel == USER else LIVE_MARKET_FEED), "/"
    return parse_host(host), "/ws/user" if channel == USER else "/"
