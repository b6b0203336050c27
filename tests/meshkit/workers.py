"""A toy worker behind a stream of items."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from meshkit import deadline, errors
from meshkit.kit import Kit
from meshkit.stream import AnswerFrames, AskFrames, ItemStream, answer_items
from tests.meshkit.toys import TOY_NAME, Behaviour, settings, toy_running


def answer_frames(toy: Any) -> AnswerFrames[Any, Any]:
    pb = toy.pb

    def item_error(frame: Any, error: errors.MeshError) -> Any:
        fault = pb.Fault(key=frame.ask.key, code=errors.code_number(error), reason=error.reason, message=error.message)
        return pb.Response(fault=fault)

    return AnswerFrames(
        is_opening=lambda frame: bool(frame.WhichOneof("frame") == "open"),
        key_of=lambda frame: str(frame.ask.key),
        opened=lambda credit: pb.Response(opened=credit),
        heartbeat=lambda: pb.Response(heartbeat=True),
        draining=lambda seconds: pb.Response(draining=True),
        item_error=item_error,
        traceparent_of=lambda frame: str(frame.ask.traceparent),
        deadline_of=lambda frame: float(frame.ask.count) or None,
    )


def ask_frames(toy: Any) -> AskFrames[Any, Any]:
    pb = toy.pb

    def kind(frame: Any) -> str | None:
        found: str | None = frame.WhichOneof("frame")
        return found

    def with_traceparent(frame: Any, traceparent: str) -> Any:
        frame.ask.traceparent = traceparent
        return frame

    def error_of(frame: Any) -> errors.MeshError | None:
        fault = frame.fault
        return errors.rebuild(fault.code, fault.reason, fault.message) if kind(frame) == "fault" else None

    return AskFrames(
        opening=lambda: pb.Request(open=True),
        is_opened=lambda frame: int(frame.opened) if kind(frame) == "opened" else None,
        key_of=lambda frame: str(frame.answer.key or frame.fault.key),
        is_heartbeat=lambda frame: kind(frame) == "heartbeat",
        is_draining=lambda frame: kind(frame) == "draining",
        error_of=error_of,
        heartbeat=lambda: pb.Request(heartbeat=True),
        with_traceparent=with_traceparent,
    )


class Worker:
    """Handles items of the toy stream and records how."""

    def __init__(self, toy: Any, credit: int = 3, heartbeat_seconds: float = 5.0) -> None:
        self.toy = toy
        self.credit = credit
        self.heartbeat_seconds = heartbeat_seconds
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.silence_seconds = 20.0
        self.most = 0
        self.seen: Counter[str] = Counter()
        self.traces: list[str] = []
        self.left: list[float | None] = []
        self.kit: Kit[Any] | None = None

    def behaviour(self) -> Behaviour:
        return Behaviour(work=self.work)

    async def work(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        assert self.kit is not None
        async for frame in answer_items(
            requests,
            self.handle,
            frames=answer_frames(self.toy),
            kit=self.kit,
            max_in_flight=self.credit,
            heartbeat_seconds=self.heartbeat_seconds,
            silence_seconds=self.silence_seconds,
        ):
            yield frame

    async def handle(self, frame: Any) -> Any:
        self.seen[frame.ask.key] += 1
        self.traces.append(frame.ask.traceparent)
        self.left.append(deadline.remaining())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if frame.ask.text == "break":
                raise RuntimeError("hunter2")
            if frame.ask.text == "refuse":
                raise errors.FailedPrecondition("NOT_HELD", "nothing held")
            return self.toy.pb.Response(answer=self.toy.pb.Answer(key=frame.ask.key, text=frame.ask.text))
        finally:
            self.running -= 1


@contextlib.asynccontextmanager
async def streaming(toy: Any, port: int) -> AsyncIterator[ItemStream[Any, Any]]:
    """A client's ItemStream, running."""
    kit: Kit[Any] = Kit(settings(service_name="client"))
    stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{port}", TOY_NAME))
    stream: ItemStream[Any, Any] = ItemStream("toy", stub.Work, ask_frames(toy), kit, silence_seconds=10.0)
    task = asyncio.ensure_future(stream.run())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await kit.close()


@contextlib.asynccontextmanager
async def worker_running(toy: Any, worker: Worker, **changes: Any) -> AsyncIterator[Any]:
    async with toy_running(toy, worker.behaviour(), **changes) as service:
        worker.kit = service.kit
        yield service
