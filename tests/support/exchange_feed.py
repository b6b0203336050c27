"""The official WebSocket client on a simulator, with everything it was told, and a way to wait for more."""

import json
import secrets
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import jwt
from coinbase.websocket import WebsocketResponse, WSClient, WSUserClient

# Bounds a wait for what never comes; a machine lent out by the moment is ten times as slow as a quiet one.
PATIENCE_SECONDS = 120

Message = dict[str, Any]
Socket = aiohttp.ClientWebSocketResponse


class Feed:
    def __init__(self, sim: Any, key: str | None = "trader", path: str = "", user: bool = False) -> None:
        named = {} if key is None else {"api_key": sim.keys[key].name, "api_secret": sim.keys[key].secret}
        kind = WSUserClient if user else WSClient
        self.client = kind(base_url=f"wss://{sim.host}{path}", on_message=self._take, retry=False, **named)
        self.messages: list[Message] = []
        self._news = threading.Condition()

    def _take(self, text: str) -> None:
        message = json.loads(text)
        if "channel" in message:
            WebsocketResponse(json.loads(text))  # the client's own types must understand it
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def wait(self, found: Callable[[Message], object], after: int = 0) -> Message:
        """The first message from number `after` on for which `found` is true."""
        ends = time.monotonic() + PATIENCE_SECONDS
        with self._news:
            while True:
                for message in self.messages[after:]:
                    if found(message):
                        return message
                assert self._news.wait(ends - time.monotonic()), f"not among {self.messages[-5:]}"

    def wait_for(self, channel: str, kind: str | None = None, after: int = 0) -> Message:
        """The first message of that channel, and of that kind of event."""
        return self.wait(
            lambda one: one.get("channel") == channel and kind in (None, one["events"][0].get("type")), after
        )

    def beats(self, count: int) -> None:
        """Waits for so many more heartbeats, which every connection that subscribed to them gets."""
        after = len(self.messages)
        self.wait(lambda _: sum(one.get("channel") == "heartbeats" for one in self.messages[after:]) >= count)

    def events(self, channel: str, kind: str | None = None) -> list[Message]:
        return [
            event
            for message in list(self.messages)
            if message.get("channel") == channel
            for event in message["events"]
            if kind in (None, event.get("type"))
        ]

    def numbers(self) -> list[int]:
        return [message["sequence_num"] for message in list(self.messages) if "channel" in message]


@contextmanager
def feed(sim: Any, key: str | None = "trader", path: str = "", user: bool = False) -> Iterator[Feed]:
    opened = Feed(sim, key, path, user)
    opened.client.open()
    try:
        yield opened
    finally:
        if opened.client._is_websocket_open():
            opened.client.close()


@asynccontextmanager
async def plain_socket(sim: Any, path: str = "/") -> AsyncIterator[Socket]:
    """A client that sends whatever it is told to, and takes from the network only what it is asked to receive."""
    trust = ssl.create_default_context(cafile=sim.ca)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"https://{sim.host}{path}", ssl=trust, max_msg_size=0) as opened,
    ):
        yield opened


async def ask(opened: Socket, message: object) -> Message:
    """What comes back first."""
    if isinstance(message, bytes):
        await opened.send_bytes(message)
    else:
        await opened.send_str(message if isinstance(message, str) else json.dumps(message))
    return await receive(opened)


async def receive(opened: Socket) -> Message:
    answer: Message = await opened.receive_json(timeout=PATIENCE_SECONDS)
    return answer


async def farewell(opened: Socket) -> tuple[int, str]:
    """Reads up to the end: the code and the reason with which the other side closes."""
    while True:
        message = await opened.receive(timeout=PATIENCE_SECONDS)
        if message.type is not aiohttp.WSMsgType.TEXT:
            assert message.type is aiohttp.WSMsgType.CLOSE, message
            return message.data, message.extra or ""


def token(sim: Any, key: str = "trader", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of a message, as the official client makes it but for what is handed in."""
    now, name = int(time.time()), sim.keys[key].name
    payload = {"sub": name, "iss": "cdp", "nbf": now, "exp": now + 120} | claims
    headers = {"kid": name, "nonce": secrets.token_hex()} | (headers or {})
    return jwt.encode(payload, sim.keys[key].secret, algorithm="ES256", headers=headers)
