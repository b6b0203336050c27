"""The client's end of a work stream: keeps one stream open to a peer and asks items over it within the peer's credit.

A break loses nothing: what has no answer is sent again on the next stream, and the peer answers a repeated key with its
stored answer. Whoever asks sees an answer, the item's own error, or that the time was over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc

from meshkit import telemetry
from meshkit.errors import AlreadyInProgress, MeshError, OutcomeUnknown, TooManyInFlight, Unavailable
from meshkit.kit import Kit
from meshkit.reconnect import Reconnect

Q = TypeVar("Q")
R = TypeVar("R")

OPEN_SECONDS = 5.0
SILENCE_SECONDS = 15.0
HEARTBEAT_SECONDS = 5.0
MAX_WAITING = 1000


@dataclass(frozen=True, slots=True)
class AskFrames(Generic[Q, R]):
    """How to make the requests and read the responses of one contract.

    `is_opened` gives the credit of an opened frame and None for every other; `key_of` gives "" for a frame that answers
    no item; `error_of` gives the error of an item error frame and None for an answer.
    """

    opening: Callable[[], Q]
    is_opened: Callable[[R], int | None]
    key_of: Callable[[R], str]
    is_heartbeat: Callable[[R], bool]
    is_draining: Callable[[R], bool]
    error_of: Callable[[R], MeshError | None]
    heartbeat: Callable[[], Q] | None = None
    with_traceparent: Callable[[Q, str], Q] | None = None


@dataclass(slots=True)
class _Item(Generic[Q, R]):
    key: str
    frame: Q
    answer: asyncio.Future[R]
    ever_sent: bool = False


@dataclass(slots=True)
class _Connection:
    """What one stream has been granted and owes; a new stream starts with a new one."""

    credit: int = 0
    unanswered: set[str] = field(default_factory=set)
    draining: bool = False
    closed: bool = False


class ItemStream(Generic[Q, R]):
    """One stream to one peer; `run` is a task of the service, `ask` is for everybody."""

    def __init__(
        self,
        name: str,
        method: Callable[[AsyncIterator[Q]], Any],
        frames: AskFrames[Q, R],
        kit: Kit[Any],
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.name = name
        self._method = method
        self._frames = frames
        self._kit = kit
        self._silence = silence_seconds
        self._reconnect = Reconnect(kit, name)
        self._waiting: dict[str, _Item[Q, R]] = {}
        self._unsent: deque[str] = deque()
        self._connection = _Connection()
        self._news = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the peer has opened the stream and takes items."""
        return self._connection.credit > 0 and not self._connection.draining

    async def check(self) -> None:
        """A health check for `entries`: fails while the stream is not open."""
        if not self.connected:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", f"the stream to {self.name} is not open")

    async def ask(self, key: str, frame: Q, deadline: float) -> R:
        """The answer to an item within `deadline` seconds.

        Raises the item's own MeshError, Unavailable if it could not be sent, OutcomeUnknown if sent and unanswered.
        """
        if key in self._waiting:
            raise AlreadyInProgress(key)
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyInFlight(self.name, MAX_WAITING)
        traceparent = telemetry.traceparent()
        if traceparent is not None and self._frames.with_traceparent is not None:
            frame = self._frames.with_traceparent(frame, traceparent)
        item: _Item[Q, R] = _Item(key, frame, asyncio.get_running_loop().create_future())
        self._waiting[key] = item
        self._unsent.append(key)
        self._news.set()
        try:
            async with asyncio.timeout(deadline):
                return await item.answer
        except TimeoutError:
            raise self._unanswered(item, deadline) from None
        finally:
            del self._waiting[key]

    def _unanswered(self, item: _Item[Q, R], seconds: float) -> MeshError:
        if item.ever_sent:
            return OutcomeUnknown(f"{self.name} did not answer item {item.key} within {seconds:g} s")
        return Unavailable("DEPENDENCY_UNAVAILABLE", f"{self.name} could not take the item within {seconds:g} s")

    async def run(self) -> None:
        """Keeps the stream open for ever; breaks are met with backoff."""
        await self._reconnect.run(self._converse)

    async def _converse(self) -> None:
        """One stream from its opening to its end."""
        connection = _Connection()
        call = self._method(self._requests(connection))
        try:
            await self._open(call, connection)
            while True:
                async with asyncio.timeout(self._silence):
                    frame = await call.read()
                if frame is grpc.aio.EOF:
                    return
                self._take(frame, connection)
        finally:
            # Leaving a stream does not end it; the peer would go on producing. Nor does its end reach the generator of
            # requests, which would take items that belong to the next stream.
            call.cancel()
            connection.closed = True
            self._connection = _Connection()
            self._news.set()

    async def _open(self, call: Any, connection: _Connection) -> None:
        async with asyncio.timeout(OPEN_SECONDS):
            frame = await call.read()
        if frame is grpc.aio.EOF:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", f"{self.name} ended the stream before opening it")
        credit = self._frames.is_opened(frame)
        if not credit:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", f"{self.name} did not answer with an opened frame")
        connection.credit = credit
        self._connection = connection
        self._unsent = deque(key for key, item in self._waiting.items() if not item.answer.done())
        self._reconnect.progress()
        self._kit.log.info("stream_opened", peer=self.name, credit=credit, to_send=len(self._unsent))
        self._news.set()

    def _take(self, frame: R, connection: _Connection) -> None:
        if self._frames.is_heartbeat(frame):
            return
        if self._frames.is_draining(frame):
            connection.draining = True
            return
        key = self._frames.key_of(frame)
        connection.unanswered.discard(key)
        self._news.set()
        item = self._waiting.get(key)
        if item is None or item.answer.done():
            return  # nobody waits any more, or a frame of a kind newer than this client
        error = self._frames.error_of(frame)
        if error is None:
            item.answer.set_result(frame)
        elif error.reason == "CREDIT_EXCEEDED":
            self._unsent.append(key)  # the item was never begun; it goes again when there is room
        else:
            item.answer.set_exception(error)

    async def _requests(self, connection: _Connection) -> AsyncIterator[Q]:
        yield self._frames.opening()
        while not connection.closed:
            item = self._next(connection)
            if item is not None:
                item.ever_sent = True
                connection.unanswered.add(item.key)
                yield item.frame
                continue
            self._news.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                if self._frames.heartbeat is not None and connection.credit:
                    yield self._frames.heartbeat()

    def _next(self, connection: _Connection) -> _Item[Q, R] | None:
        """The next item this stream may carry now; an item that timed out keeps its credit until its answer comes."""
        if connection.draining or len(connection.unanswered) >= connection.credit:
            return None
        while self._unsent:
            item = self._waiting.get(self._unsent.popleft())
            if item is not None and not item.answer.done() and item.key not in connection.unanswered:
                return item
        return None
