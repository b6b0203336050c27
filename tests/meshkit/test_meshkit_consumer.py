"""A consumer keeps its stream open: it resumes from its own position, reports its health, and passes defects on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from waiting import eventually

from meshkit import consumer as room
from meshkit import errors
from meshkit.consumer import Consumer
from meshkit.kit import Kit
from tests.meshkit.toys import TOY_NAME, Behaviour, settings, toy_running

Take = Callable[[Any], Awaitable[bool]]


@dataclass
class Owner:
    """Whoever owns a consumer: the numbers it dealt with are its position."""

    seen: list[int] = field(default_factory=list)
    breaks: list[tuple[str, bool]] = field(default_factory=list)

    async def take(self, answer: Any) -> bool:
        self.seen.append(int(answer.number))
        return True

    def lost(self, error: errors.MeshError, heard: bool) -> None:
        self.breaks.append((error.reason, heard))


@asynccontextmanager
async def consuming(
    toy: Any, owner: Owner, watch: Any, take: Take | None = None, **limits: Any
) -> AsyncIterator[tuple[Consumer, asyncio.Task[None]]]:
    """A consumer that runs, against a server whose Watch is `watch`."""
    kit: Kit[Any] = Kit(settings(service_name="client"))
    async with toy_running(toy, Behaviour(watch=watch)) as service:
        stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME))

        async def open_call() -> Any:
            return stub.Watch(toy.pb.Ask(count=len(owner.seen)))

        consumer = Consumer(kit, "toy", open_call, take or owner.take, lost=owner.lost, **limits)
        running = asyncio.ensure_future(consumer.run())
        try:
            yield consumer, running
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, ZeroDivisionError):
                await running
    await kit.close()


async def test_it_resumes_after_breaks_and_refusals_from_what_was_dealt_with(toy: Any) -> None:
    positions: list[int] = []

    async def breaks(request: Any, context: Any) -> Any:
        positions.append(request.count)
        if len(positions) == 2:
            raise errors.InvalidRequest([errors.Violation("count", "INVALID_POSITION", "no such position")])
        for number in range(request.count, request.count + 2):
            yield toy.pb.Answer(number=number)
        raise errors.Unavailable("DATABASE_UNAVAILABLE", "away")

    owner = Owner()
    async with consuming(toy, owner, breaks):
        await eventually(lambda: len(owner.breaks) >= 3)
    assert (owner.seen[:4], positions[:3]) == ([0, 1, 2, 3], [0, 2, 2])
    assert owner.breaks[:3] == [
        ("DATABASE_UNAVAILABLE", True),
        ("INVALID_POSITION", False),
        ("DATABASE_UNAVAILABLE", True),
    ]


@pytest.mark.parametrize(
    "failure", [errors.Unavailable("DATABASE_UNAVAILABLE", "away"), asyncpg.CannotConnectNowError("starting up")]
)
async def test_a_message_that_was_not_dealt_with_comes_again(toy: Any, failure: Exception) -> None:
    async def one(request: Any, context: Any) -> Any:
        yield toy.pb.Answer(number=request.count)
        await asyncio.Event().wait()

    owner = Owner()
    failures = [failure]

    async def take(answer: Any) -> bool:
        if failures:
            raise failures.pop()
        return await owner.take(answer)

    async with consuming(toy, owner, one, take):
        await eventually(lambda: owner.seen == [0])
    assert owner.breaks == [("DATABASE_UNAVAILABLE", True)]


async def test_it_leaves_a_peer_that_drains_and_one_that_ends_without_calling_that_a_break(toy: Any) -> None:
    async def three(request: Any, context: Any) -> Any:
        for number in range(request.count, request.count + 3):
            yield toy.pb.Answer(number=number)
        if request.count:
            return
        await asyncio.Event().wait()

    owner = Owner()

    async def take(answer: Any) -> bool:
        await owner.take(answer)
        return bool(answer.number)  # the first one says that the peer drains

    async with consuming(toy, owner, three, take):
        await eventually(lambda: len(owner.seen) >= 7)
    assert owner.seen[:7] == list(range(7))
    assert owner.breaks == []


async def test_silence_is_a_break_from_the_first_message_on(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST_SECONDS", 0.3)

    async def silent(request: Any, context: Any) -> Any:
        if request.count:
            await asyncio.Event().wait()
        yield toy.pb.Answer(number=0)
        await asyncio.Event().wait()

    owner = Owner()
    async with consuming(toy, owner, silent, silence_seconds=0.2):
        await eventually(lambda: len(owner.breaks) >= 2)
    assert owner.breaks[:2] == [("DEPENDENCY_UNAVAILABLE", True), ("DEPENDENCY_UNAVAILABLE", False)]
    assert owner.seen == [0]


async def test_a_peer_without_heartbeats_may_be_silent_after_its_first_message(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FIRST_SECONDS", 0.3)
    later = asyncio.Event()

    async def slow(request: Any, context: Any) -> Any:
        yield toy.pb.Answer(number=0)
        await later.wait()
        yield toy.pb.Answer(number=1)
        await asyncio.Event().wait()

    owner = Owner()
    async with consuming(toy, owner, slow, silence_seconds=None):
        await eventually(lambda: owner.seen == [0])
        await asyncio.sleep(0.5)  # longer than the deadline of the first message
        later.set()
        await eventually(lambda: owner.seen == [0, 1])
    assert owner.breaks == []


async def test_its_health_is_that_of_the_stream(toy: Any) -> None:
    answers: asyncio.Queue[int | None] = asyncio.Queue()

    async def told(request: Any, context: Any) -> Any:
        while (number := await answers.get()) is not None:
            yield toy.pb.Answer(number=number)
        raise errors.Unavailable("DATABASE_UNAVAILABLE", "away")

    owner = Owner()
    async with consuming(toy, owner, told) as (consumer, _):
        with pytest.raises(errors.Unavailable, match="toy stream is not open"):
            await consumer.check()
        answers.put_nowait(0)
        await eventually(lambda: owner.seen == [0])
        await consumer.check()
        answers.put_nowait(None)
        await eventually(lambda: not consumer.connected)
        with pytest.raises(errors.Unavailable):
            await consumer.check()
        answers.put_nowait(1)
        await eventually(lambda: consumer.connected)


async def test_a_defect_ends_it(toy: Any) -> None:
    async def one(request: Any, context: Any) -> Any:
        yield toy.pb.Answer(number=0)
        await asyncio.Event().wait()

    async def defect(answer: Any) -> bool:
        raise ZeroDivisionError

    owner = Owner()
    async with consuming(toy, owner, one, defect) as (consumer, running):
        await eventually(running.done)
        assert isinstance(running.exception(), ZeroDivisionError)
        assert not consumer.connected
