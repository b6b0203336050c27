"""The official WebSocket client on a simulator, with everything it was told, and a way to wait for more."""

import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from coinbase.websocket import WebsocketResponse, WSClient, WSUserClient
from websockets.sync.client import ClientConnection, connect

# Bounds a wait for what never comes; a machine lent out by the moment is ten times as slow as a quiet one.
PATIENCE_SECONDS = 120

Message = dict[str, Any]


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


@contextmanager
def plain_socket(sim: Any, path: str = "/", **options: Any) -> Iterator[ClientConnection]:
    """A client that sends whatever it is told to."""
    trust = ssl.create_default_context(cafile=sim.ca)
    with connect(f"wss://{sim.host}{path}", ssl_context=trust, open_timeout=PATIENCE_SECONDS, **options) as opened:
        yield opened


def ask(opened: ClientConnection, message: object) -> Message:
    """What comes back first."""
    opened.send(message if isinstance(message, (str, bytes)) else json.dumps(message))
    answer: Message = json.loads(opened.recv(timeout=PATIENCE_SECONDS))
    return answer


def token(sim: Any, key: str = "trader", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of a message, as the official client makes it but for what is handed in."""
    now, name = int(time.time()), sim.keys[key].name
    payload = {"sub": name, "iss": "cdp", "nbf": now, "exp": now + 120} | claims
    headers = {"kid": name, "nonce": secrets.token_hex()} | (headers or {})
    return jwt.encode(payload, sim.keys[key].secret, algorithm="ES256", headers=headers)
