"""The server's end of a work stream: runs items at once within the granted credit and answers every one.

An item in flight is one received whose answer has not yet been handed to the transport; a peer that keeps to its credit
can therefore never be over it. An item's failure never ends the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opentelemetry import trace

from meshkit import deadline
from meshkit.cancellation import being_cancelled
from meshkit.errors import InvalidRequest, MeshError, TooManyInFlight, Unavailable, Violation
from meshkit.handler_timeout import ended_after, with_time_to_answer
from meshkit.kit import Kit
from meshkit.telemetry import extract
from meshkit.translate import translate

Q = TypeVar("Q")
R = TypeVar("R")

HEARTBEAT_SECONDS = 5.0
REOPEN_SECONDS = 1.0
# A client sends heartbeats while it has no items; four missed ones are a client that is gone or means no good.
SILENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class AnswerFrames(Generic[Q, R]):
    """How to read the requests and make the responses of one contract.

    `is_opening` tells the first frame; `key_of` gives an item's key, or "" for a frame that is no item (a heartbeat, or
    a kind this server does not know yet), which is ignored.
    """

    is_opening: Callable[[Q], bool]
    key_of: Callable[[Q], str]
    opened: Callable[[int], R]
    heartbeat: Callable[[], R]
    draining: Callable[[float], R]
    item_error: Callable[[Q, MeshError], R]
    traceparent_of: Callable[[Q], str] | None = None
    deadline_of: Callable[[Q], float | None] | None = None


async def answer_items(
    request_iterator: AsyncIterator[Q],
    handle: Callable[[Q], Awaitable[R]],
    *,
    frames: AnswerFrames[Q, R],
    kit: Kit[Any],
    max_in_flight: int,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncIterator[R]:
    """Answers of all items in the order they finish; ends when the peer has half-closed, is silent, or the server drains."""
    first = await anext(request_iterator, None)
    if first is None:
        return
    if not frames.is_opening(first):
        raise InvalidRequest([Violation("frame", "INVALID_POSITION", "the first frame must open the stream")])
    yield frames.opened(max_in_flight)
    server = _ItemServer(handle, frames, kit, max_in_flight, silence_seconds)
    pump = asyncio.ensure_future(server.pump(request_iterator))
    try:
        async for frame in server.answers(heartbeat_seconds):
            yield frame
        await pump
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


class _ItemServer(Generic[Q, R]):
    """The items of one stream between their arrival and their answer."""

    def __init__(
        self,
        handle: Callable[[Q], Awaitable[R]],
        frames: AnswerFrames[Q, R],
        kit: Kit[Any],
        max_in_flight: int,
        silence_seconds: float,
    ) -> None:
        self._handle = handle
        self._frames = frames
        self._kit = kit
        self._limit = max_in_flight
        self._in_flight = 0
        self._silence = silence_seconds
        self._heard = kit.clock.monotonic()
        # None says that no answer follows. The bound makes a peer that floods wait for its own refusals.
        self._out: asyncio.Queue[tuple[R, bool] | None] = asyncio.Queue(max_in_flight + 8)

    async def pump(self, requests: AsyncIterator[Q]) -> None:
        """Takes items until the peer has no more or the server drains, then waits for those running."""
        try:
            async with asyncio.TaskGroup() as items:
                reading = items.create_task(self._read(requests, items))
                drained = items.create_task(self._kit.draining.wait())
                await asyncio.wait({reading, drained}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    await self._out.put((self._frames.draining(REOPEN_SECONDS), False))
                drained.cancel()
        except BaseException:
            # The reader of the queue must wake and see this; if it is going away, nobody takes from the queue any more.
            if self._out.full():
                self._out.get_nowait()
            self._out.put_nowait(None)
            raise
        await self._out.put(None)

    async def answers(self, heartbeat_seconds: float) -> AsyncIterator[R]:
        while True:
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    entry = await self._out.get()
            except TimeoutError:
                if not self._in_flight and self._kit.clock.monotonic() - self._heard > self._silence:
                    # Half-open streams would otherwise fill the places of those who have work.
                    message = f"nothing was heard for {self._silence:g} s; open the stream again"
                    raise Unavailable("DEPENDENCY_UNAVAILABLE", message) from None
                yield self._frames.heartbeat()
                continue
            if entry is None:
                return
            frame, of_item = entry
            if of_item:
                self._in_flight -= 1
            yield frame

    async def _read(self, requests: AsyncIterator[Q], items: asyncio.TaskGroup) -> None:
        async for frame in requests:
            self._heard = self._kit.clock.monotonic()
            if not self._frames.key_of(frame):
                continue
            if self._in_flight >= self._limit:
                error = TooManyInFlight("stream", self._limit, reason="CREDIT_EXCEEDED")
                await self._out.put((self._frames.item_error(frame, error), False))
                continue
            self._in_flight += 1
            items.create_task(self._item(frame))

    async def _item(self, frame: Q) -> None:
        with self._span(frame) as span:
            try:
                with deadline.limit(self._seconds(frame)):
                    left = deadline.remaining()
                    handler_timeout = None if left is None else with_time_to_answer(left)
                    # Items may be repeated: whoever asks again under the same key gets the stored answer.
                    async with ended_after(handler_timeout, left, repeatable=True):
                        answer = await self._handle(frame)
            except asyncio.CancelledError:
                if being_cancelled():
                    raise
                answer = self._failed(frame, RuntimeError("an inner task was cancelled"), span)
            except Exception as error:
                answer = self._failed(frame, error, span)
        await self._out.put((answer, True))

    def _failed(self, frame: Q, error: Exception, span: trace.Span) -> R:
        found = translate(error, self._kit.log, item=self._frames.key_of(frame))
        span.set_attribute("mesh.reason", found.reason)
        span.set_status(trace.StatusCode.ERROR, found.reason)
        return self._frames.item_error(frame, found)

    def _seconds(self, frame: Q) -> float | None:
        """An item without a deadline of its own has as long as the stream lives."""
        return self._frames.deadline_of(frame) if self._frames.deadline_of is not None else None

    def _span(self, frame: Q) -> Any:
        """One span per item, child of the asker's span and linked to the stream's."""
        of_item = self._frames.traceparent_of(frame) if self._frames.traceparent_of is not None else ""
        stream = trace.get_current_span().get_span_context()
        return self._kit.tracer.start_as_current_span(
            "stream.item",
            context=extract({"traceparent": of_item}) if of_item else None,
            kind=trace.SpanKind.SERVER,
            links=[trace.Link(stream)] if stream.is_valid else [],
            attributes={"mesh.item": self._frames.key_of(frame)},
            record_exception=False,
        )
