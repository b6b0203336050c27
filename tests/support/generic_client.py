"""A client that knows the contracts from their descriptors alone, and writes down exactly what came back."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.support.arriving import Arriving
from trading.common.v1 import error_pb2

REASONS = frozenset(name.removeprefix("ERROR_REASON_") for name in error_pb2.ErrorReason.keys())  # noqa: SIM118
# Words that only a traceback, a driver or an interpreter writes.
INNER_WORDS = re.compile(
    r"Traceback|asyncpg|sqlalchemy|psycopg|protobuf|File \"|line \d+, in|\b\w+\.py\b|<class|object at 0x|"
    r"\b(SELECT|INSERT|UPDATE|DELETE) |deserializ|\b(Key|Type|Value|Attribute|Index|Overflow|Data|Integrity)Error"
)
CALL_SECONDS = 8.0
# The client library's own word, never the server's: it wrote when the refusal was there already (grpc/grpc#36066).
WRITER_CUT_OFF = "Internal error from Core"
# How long a writer waits for a refusal after each frame, one attempt after the other.
LISTENS_SECONDS = (0.0, 0.1, 1.0, 10.0)
FIRST_FRAME_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """What one call or item came to; `code` OK means that it was accepted."""

    code: str
    reason: str = ""
    message: str = ""
    violations: tuple[tuple[str, str, str], ...] = ()
    response: Any = None

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(field for field, _, _ in self.violations)

    def __str__(self) -> str:
        return f"{self.code} {self.reason} {self.message[:160]!r} {sorted(self.fields)}"

    def faults(self) -> list[str]:
        """What no answer may be, whatever was asked."""
        found = []
        if self.code == "OK":
            return found
        if self.code == "INTERNAL" or (self.code == "UNKNOWN" and self.reason != "OUTCOME_UNKNOWN"):
            found.append("a defect is shown to the caller")
        if self.reason not in REASONS or self.reason == "UNSPECIFIED":
            found.append(f"{self.reason!r} is no ErrorReason")
        if self.code == "INVALID_ARGUMENT" and not self.violations:
            found.append("INVALID_ARGUMENT names no field")
        texts = [self.message, *(part for one in self.violations for part in one)]
        found += [f"inner words: {text[:200]!r}" for text in texts if INNER_WORDS.search(text)]
        return found


def method_path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def kind(method: MethodDescriptor) -> str:
    request = "stream" if method.client_streaming else "unary"
    response = "stream" if method.server_streaming else "unary"
    return f"{request}_{response}"


def request_class(method: MethodDescriptor) -> Any:
    return GetMessageClass(method.input_type)


def bound(channel: grpc.aio.Channel, method: MethodDescriptor, serialize: Any = None) -> Any:
    """The method as a callable of the channel."""
    return getattr(channel, kind(method))(
        method_path(method),
        request_serializer=serialize or request_class(method).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


async def ask(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    frames: Sequence[Any],
    serialize: Any = None,
    timeout_seconds: float = FIRST_FRAME_SECONDS,
) -> Outcome:
    """One call of any kind. A client that is refused while it still writes may not hear why: then it asks again, and listens
    for longer before it goes on writing."""
    for listens in LISTENS_SECONDS:
        outcome = await _ask_once(channel, method, frames, serialize, timeout_seconds, listens)
        if (outcome.code, outcome.message) != ("INTERNAL", WRITER_CUT_OFF):
            break
    return outcome


async def _ask_once(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    frames: Sequence[Any],
    serialize: Any,
    timeout_seconds: float,
    listens_seconds: float,
) -> Outcome:
    """Of a stream of responses the first frame counts, and silence is acceptance."""
    call, over = bound(channel, method, serialize), asyncio.Event()
    request = _iterate(frames, over, listens_seconds) if method.client_streaming else frames[0]
    listens = listens_seconds * len(frames)
    running = call(request, timeout=CALL_SECONDS + listens)
    running.add_done_callback(lambda _: over.set())
    try:
        if not method.server_streaming:
            return Outcome("OK", response=await running)
        try:
            async with asyncio.timeout(timeout_seconds + listens):
                frame = await anext(aiter(running), grpc.aio.EOF)
        except TimeoutError:
            return Outcome("OK")
        finally:
            running.cancel()
        return Outcome("OK", response=None if frame is grpc.aio.EOF else frame)
    except grpc.aio.AioRpcError as error:
        return outcome_of(error)


async def _iterate(frames: Sequence[Any], over: asyncio.Event, listens_seconds: float) -> AsyncIterator[Any]:
    for frame in frames:
        yield frame
        if listens_seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(listens_seconds):
                    await over.wait()
        if over.is_set():
            return


def outcome_of(error: grpc.aio.AioRpcError) -> Outcome:
    """Code, reason and violations; a status whose details contradict it has no reason."""
    status = rpc_status.from_call(error)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    if status is not None:
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(request)
    violations = tuple((one.field, one.reason, one.description) for one in request.field_violations)
    return Outcome(error.code().name, info.reason, error.details() or "", violations)


class Talk:
    """A bidi stream on which items are asked one after the other."""

    def __init__(self, call: Any, frame_class: Any) -> None:
        self._call = Arriving(call)
        self._frame_class = frame_class

    async def send(self, frame: Any) -> None:
        await self._call.write(frame)

    async def item(self, item: Any, traceparent: str = "") -> Outcome:
        await self.send(self._frame_class(item=item, traceparent=traceparent))
        return await self.next()

    async def next(self) -> Outcome:
        """The next frame that is no heartbeat."""
        while True:
            async with asyncio.timeout(CALL_SECONDS):
                frame = await self._call.read()
            if frame is grpc.aio.EOF:
                return Outcome("EOF")
            which = frame.WhichOneof("frame")
            if which == "heartbeat":
                continue
            if which != "item_error":
                return Outcome("OK", response=frame)
            found = frame.item_error
            violations = tuple((one.field, one.rule, one.description) for one in found.violations)
            code = next(code.name for code in grpc.StatusCode if code.value[0] == found.code)
            reason = error_pb2.ErrorReason.Name(found.reason).removeprefix("ERROR_REASON_")
            return Outcome(code, reason, found.message, violations, found)

    async def half_close(self) -> None:
        await self._call.done_writing()


@asynccontextmanager
async def talk(channel: grpc.aio.Channel, method: MethodDescriptor, opening: Any) -> AsyncIterator[Talk]:
    """An open stream; its first answer has been read."""
    call = bound(channel, method)()
    try:
        conversation = Talk(call, request_class(method))
        await conversation.send(opening)
        opened = await conversation.next()
        assert opened.response.WhichOneof("frame") == "opened", opened
        yield conversation
    finally:
        call.cancel()
