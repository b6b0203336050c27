"""The exchange's WebSocket: who is connected, and the beat at which changes of the market go out.

The beat runs only while somebody is connected. Orders do not wait for it: the state tells them at each commit.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aiohttp import web

from exchange_sim.auth import ApiKey, Refused, prove
from exchange_sim.exchange import Exchange
from exchange_sim.fault_rules import Faults
from exchange_sim.market import MarketUnavailable
from exchange_sim.orders import Order
from exchange_sim.socket_channel import BEAT_SECONDS, Channel
from exchange_sim.socket_channels import (
    Candles,
    Heartbeats,
    Level2,
    MarketTrades,
    Status,
    Ticker,
    TickerBatch,
)
from exchange_sim.socket_connection import GOING_AWAY, LARGEST_MESSAGE, OUR_FAULT, Connection
from exchange_sim.socket_faults import SocketFaults
from exchange_sim.socket_market import SocketMarket
from exchange_sim.socket_request import (
    CANDLES,
    HEARTBEATS,
    LEVEL2,
    MARKET_TRADES,
    STATUS,
    TICKER,
    TICKER_BATCH,
    USER,
    BadMessage,
    SocketRequest,
)
from exchange_sim.socket_user import UserOrders
from exchange_sim.web import HttpError

MOST_CONNECTIONS = 256
_LOAD_SECONDS = 1.0
# Candles of a market that is mirrored cost a request to its source each.
_MIRROR_LOAD_SECONDS = 10.0
_PING_SECONDS = 30.0

log = logging.getLogger(__name__)


class Sockets:
    def __init__(
        self, exchange: Exchange, keys: Mapping[str, ApiKey], clocks: Callable[[], tuple[float, ...]], faults: Faults
    ) -> None:
        self._exchange = exchange
        self._keys = keys
        self._clocks = clocks
        self._faults = SocketFaults(faults)
        self._connections: set[Connection] = set()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._load_seconds = _MIRROR_LOAD_SECONDS if exchange.market.follows_wall_clock else _LOAD_SECONDS
        market = SocketMarket(exchange.market)
        self._product_ids = market.product_ids
        self._make: dict[str, Callable[[], Channel]] = {
            HEARTBEATS: Heartbeats,
            STATUS: partial(Status, market),
            USER: partial(UserOrders, exchange.state.open_orders),
            TICKER: partial(Ticker, market),
            TICKER_BATCH: partial(TickerBatch, market),
            CANDLES: partial(Candles, market),
            MARKET_TRADES: partial(MarketTrades, market),
            LEVEL2: partial(Level2, market),
        }

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its first byte to its last."""
        if self._closed or len(self._connections) >= MOST_CONNECTIONS:
            raise HttpError(503, "UNAVAILABLE", "no more connections")
        socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False, max_msg_size=LARGEST_MESSAGE)
        connection = Connection(
            socket,
            self._product_ids,
            self._make,
            self._allow,
            lambda: self._exchange.now_us,
            self._faults,
            request.path,
        )
        self._connections.add(connection)
        try:
            await socket.prepare(request)
            if self._running is None:
                self._running = asyncio.create_task(self._run())
            await connection.run(request)
        finally:
            self._connections.discard(connection)
            if not self._connections:
                await self._rest()
        return socket

    def orders_changed(self, orders: Sequence[Order]) -> None:
        """Called at a commit: it only fills queues, and whatever goes wrong here, the orders stand."""
        # Market time moves after the commit of its step; no message may be older than what it tells.
        at_us = max(self._exchange.now_us, *(order.updated_us for order in orders))
        for connection in self._connections:
            try:
                connection.orders_changed(orders, at_us)
            except Exception:
                self._give_up(connection)

    async def close(self, _: web.Application) -> None:
        """The exchange shuts down: every client hears so, and each connection ends in its own task."""
        self._closed = True
        for connection in self._connections:
            connection.end(GOING_AWAY, "shutting down")

    def _allow(self, request: SocketRequest) -> None:
        """A token is judged wherever one is sent; the user channel needs one, of a key that may look."""
        if request.token is None and request.channel != USER:
            return
        try:
            key = prove(self._keys, request.token or "", None, self._clocks())
        except Refused as refusal:
            log.info("WebSocket %s: %s", request.channel, refusal)
            raise BadMessage("authentication failure") from refusal
        if request.channel == USER and not key.can_view:
            raise BadMessage("Missing required scopes")

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._load())

    async def _rest(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        number, due = 0, loop.time()
        while True:
            due = max(due + BEAT_SECONDS, loop.time())  # a beat that came late is not made up for
            await asyncio.sleep(due - loop.time())
            number += 1
            for connection in tuple(self._connections):
                try:
                    connection.beat(number)
                except Exception:
                    self._give_up(connection)

    async def _load(self) -> None:
        while True:
            await asyncio.sleep(self._load_seconds)
            now_us = self._exchange.now_us
            for connection in tuple(self._connections):
                try:
                    await connection.refresh(now_us)
                except MarketUnavailable as error:
                    log.warning("candles are not refreshed: %s", error)
                    break
                except Exception:
                    self._give_up(connection)

    def _give_up(self, connection: Connection) -> None:
        """A fault of ours: the client would miss something, so it must begin anew."""
        log.exception("a WebSocket connection failed")
        connection.end(OUR_FAULT, "internal error")
