"""One WebSocket connection: follows what its client asks for, and sends in order, numbered, without ever making others wait.

What is to be sent goes to a bounded queue, so nobody who produces it waits for the network. A client that lets the queue
fill up would miss something, so it is hung up on instead.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from aiohttp import WSMessage, WSMsgType, web

from exchange_sim import socket_views as views
from exchange_sim.fault_rules import FaultKind, Rule
from exchange_sim.market import MarketUnavailable
from exchange_sim.orders import Order
from exchange_sim.socket_channel import Channel, Messages
from exchange_sim.socket_faults import SocketFaults, Wire
from exchange_sim.socket_request import CHANNELS, BadMessage, SocketRequest, parse_message
from exchange_sim.socket_user import UserOrders
from exchange_sim.views import Json

LARGEST_MESSAGE = 64 * 1024
_FIRST_SUBSCRIBE_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
# The snapshot of some eight thousand open orders.
_MOST_WAITING = 8 * 1024 * 1024

NORMAL, GOING_AWAY, BROKEN_RULE, OUR_FAULT = 1000, 1001, 1008, 1011
# Is never sent: the connection ends without a word.
_ABNORMAL = 1006

log = logging.getLogger(__name__)


class Connection:
    """`make` gives a new channel by its name, `allow` raises BadMessage for what the client may not ask; `path` is where it
    connected to."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        product_ids: Callable[[], tuple[str, ...]],
        make: Mapping[str, Callable[[], Channel]],
        allow: Callable[[SocketRequest], None],
        now_us: Callable[[], int],
        faults: SocketFaults,
        path: str,
    ) -> None:
        self._socket = socket
        self._product_ids = product_ids
        self._make = make
        self._allow = allow
        self._now_us = now_us
        self._faults = faults
        self._path = path
        self._wire = Wire()
        self._channels: dict[str, Channel] = {}
        self._number = 0
        self._waiting: deque[str] = deque()
        self._waiting_size = 0
        self._filled = asyncio.Event()
        self._end: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def run(self, request: web.Request) -> None:
        """Until the client leaves, breaks a rule or the exchange shuts down."""
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            await asyncio.wait((reader, writer, self._end), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._finish(reader)
            # The writer ends last: it may wait for a client that does not read, and aiohttp lets all who wait for one share a
            # future, so that cancelling the writer would cancel the farewell as well.
            await self._hang_up(request)
            await self._finish(writer)

    def end(self, code: int, reason: str) -> None:
        if not self._end.done():
            self._end.set_result((code, reason))

    def beat(self, number: int) -> None:
        """Sends what has changed in each channel whose turn it is."""
        now_us = self._now_us()
        for channel in self._channels.values():
            if number % channel.every == 0:
                self._send_all(channel.sends_as, now_us, channel.update(now_us))

    async def refresh(self, now_us: int) -> None:
        """Loads ahead for all channels; MarketUnavailable when the source is out."""
        for channel in tuple(self._channels.values()):
            await channel.refresh(now_us)

    def orders_changed(self, orders: Iterable[Order], at_us: int) -> None:
        for channel in self._channels.values():
            if isinstance(channel, UserOrders):
                self._send_all(channel.sends_as, at_us, channel.changed(orders))

    async def _finish(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Exception):
            log.error("a WebSocket connection failed", exc_info=result)
            self.end(OUR_FAULT, "internal error")

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_FIRST_SUBSCRIBE_SECONDS) as patience:
                async for message in self._socket:
                    try:
                        request = self._understand(message)
                        if request.subscribes:
                            patience.reschedule(None)
                        await self._follow(request)
                    except BadMessage as error:
                        self._put(views.error(str(error)))
                    await asyncio.sleep(0)  # who sends many at once has them followed one by one, and others in between
        except TimeoutError:
            self.end(BROKEN_RULE, "no subscription")

    def _understand(self, message: WSMessage) -> SocketRequest:
        if message.type is not WSMsgType.TEXT:
            raise BadMessage("messages must be text")
        request = parse_message(message.data, self._product_ids())
        self._allow(request)
        return request

    async def _follow(self, request: SocketRequest) -> None:
        name = request.channel
        channel = self._channels.get(name)
        messages: Messages = []
        if request.subscribes:
            fault = self._faults.of_subscription(self._path, name)
            if fault is not None and fault.kind is FaultKind.WS_REFUSE:
                raise BadMessage("authentication failure")
            channel = channel or self._make[name]()
            try:
                await channel.load(request.product_ids, self._now_us())
            except MarketUnavailable as error:
                log.warning("%s begins without what the market's source would tell: %s", name, error)
            messages = self._faults.snapshot(name, channel.start(request.product_ids, self._now_us()), fault)
            self._channels[name] = channel
        elif channel is not None:
            channel.stop(request.product_ids)
            if not channel.subscribed():
                del self._channels[name]
        self._answer()
        if channel is not None:
            self._send_all(channel.sends_as, self._now_us(), messages)

    def _answer(self) -> None:
        followed = {name: self._channels[name].subscribed() for name in CHANNELS if name in self._channels}
        self._send_all("subscriptions", self._now_us(), [[views.subscriptions(followed)]])

    def _send_all(self, sends_as: str, at_us: int, messages: Messages) -> None:
        for events in messages:
            fault = self._faults.of_message(self._path, sends_as)
            match fault.kind if fault is not None else None:
                case FaultKind.WS_DROP:
                    self.end(_ABNORMAL, "")
                case FaultKind.WS_CLOSE:
                    self.end(NORMAL, "")
            if fault is not None and fault.kind is FaultKind.WS_LATE:
                asyncio.get_running_loop().call_later(fault.seconds, self._send, sends_as, at_us, events, None)
            else:
                self._send(sends_as, at_us, events, fault)

    def _send(self, sends_as: str, at_us: int, events: list[Json], fault: Rule | None) -> None:
        text = views.envelope(sends_as, at_us, self._number, events)
        self._number += 1
        for passed in self._wire.passes(text, fault):
            self._put(passed)

    def _put(self, text: str) -> None:
        if self._end.done():
            return
        if self._waiting_size + len(text) > _MOST_WAITING:
            log.warning("hanging up on a WebSocket client that reads too slowly")
            self.end(BROKEN_RULE, "too slow")
            return
        self._waiting.append(text)
        self._waiting_size += len(text)
        self._filled.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._filled.wait()
                while self._waiting:
                    text = self._waiting.popleft()
                    await self._socket.send_str(text)
                    self._waiting_size -= len(text)
                self._filled.clear()
        except ConnectionError:
            return  # the client is gone

    async def _hang_up(self, request: web.Request) -> None:
        if not self._end.done():
            return  # the client left, and has been answered
        code, reason = self._end.result()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                if code != _ABNORMAL:
                    await self._socket.close(code=code, message=reason.encode())
        except (TimeoutError, ConnectionError):
            pass  # it does not read: nothing more can be told to it
        if request.transport is not None:
            request.transport.abort()
