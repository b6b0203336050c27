"""Work streams: credit, item errors, heartbeats, draining, reconnect and resend; both ends over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from waiting import eventually

from meshkit import errors
from meshkit.kit import Kit
from meshkit.stream import client
from tests.meshkit.toys import Behaviour, bare, settings, toy_running
from tests.meshkit.workers import Worker, streaming, worker_running
from tests.support.arriving import Arriving


def ask(toy: Any, key: str, text: str = "") -> Any:
    return toy.pb.Request(ask=toy.pb.Ask(key=key, text=text))


async def test_items_run_at_once_within_credit_and_answers_find_their_asker(toy: Any) -> None:
    worker = Worker(toy, credit=3)
    async with worker_running(toy, worker) as service, streaming(toy, service.port) as stream:
        worker.gate.clear()
        asks = [asyncio.ensure_future(stream.ask(f"k{n}", ask(toy, f"k{n}", f"t{n}"), 10)) for n in range(20)]
        await eventually(lambda: worker.running == 3)
        worker.gate.set()
        answers = await asyncio.gather(*asks)
        assert [answer.answer.text for answer in answers] == [f"t{n}" for n in range(20)]
        assert worker.most == 3
        assert set(worker.seen.values()) == {1}


async def test_an_items_failure_is_its_own(toy: Any) -> None:
    worker = Worker(toy)
    async with worker_running(toy, worker) as service, streaming(toy, service.port) as stream:
        results = await asyncio.gather(
            stream.ask("a", ask(toy, "a", "refuse"), 5),
            stream.ask("b", ask(toy, "b", "break"), 5),
            stream.ask("c", ask(toy, "c", "fine"), 5),
            return_exceptions=True,
        )
        refused, broken, fine = results
        assert isinstance(refused, errors.FailedPrecondition)
        assert refused.reason == "NOT_HELD"
        assert isinstance(broken, errors.Internal)
        assert "hunter2" not in str(broken)
        assert fine.answer.text == "fine"
        assert (await stream.ask("d", ask(toy, "d"), 5)).answer.key == "d"


async def test_items_over_credit_get_an_item_error_and_the_stream_goes_on(toy: Any) -> None:
    worker = Worker(toy, credit=2)
    worker.gate.clear()
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        call = Arriving(toy.rpc.ToyServiceStub(channel).Work())
        await call.write(toy.pb.Request(open=True))
        assert (await call.read()).opened == 2
        for n in range(4):
            await call.write(ask(toy, f"k{n}"))
        over = [(await call.read()).fault for _ in range(2)]
        assert {fault.reason for fault in over} == {"CREDIT_EXCEEDED"}
        assert {fault.key for fault in over} == {"k2", "k3"}
        worker.gate.set()
        assert {(await call.read()).answer.key for _ in range(2)} == {"k0", "k1"}
        await call.write(ask(toy, "k2"))
        assert (await call.read()).answer.key == "k2"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_half_close_waits_for_the_items_that_run(toy: Any) -> None:
    worker = Worker(toy)
    worker.gate.clear()
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        call = Arriving(toy.rpc.ToyServiceStub(channel).Work())
        await call.write(toy.pb.Request(open=True))
        await call.write(ask(toy, "k"))
        await call.done_writing()
        assert (await call.read()).opened
        asyncio.get_running_loop().call_later(0.1, worker.gate.set)
        assert (await call.read()).answer.key == "k"
        assert await call.read() is grpc.aio.EOF


async def test_a_stream_must_be_opened_and_unknown_frames_are_ignored(toy: Any) -> None:
    worker = Worker(toy)
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        call = Arriving(stub.Work())
        await call.write(ask(toy, "k"))
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call.read()
        assert errors.from_rpc_error(found.value).reason == "INVALID_POSITION"
        call = Arriving(stub.Work())
        for frame in (toy.pb.Request(open=True), toy.pb.Request(), toy.pb.Request(heartbeat=True), ask(toy, "k")):
            await call.write(frame)
        assert (await call.read()).opened
        assert (await call.read()).answer.key == "k"
        call.cancel()


async def test_an_idle_stream_shows_life(toy: Any) -> None:
    worker = Worker(toy, heartbeat_seconds=0.05)
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        call = Arriving(toy.rpc.ToyServiceStub(channel).Work())
        await call.write(toy.pb.Request(open=True))
        await call.read()
        assert (await call.read()).heartbeat
        assert (await call.read()).heartbeat
        call.cancel()


async def test_a_silent_client_gives_its_place_back_and_one_that_shows_life_keeps_it(toy: Any) -> None:
    worker = Worker(toy, heartbeat_seconds=0.05)
    worker.silence_seconds = 0.5
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        silent, alive = stub.Work(), stub.Work()
        for call in (silent, alive):
            await call.write(toy.pb.Request(open=True))
            assert (await call.read()).opened

        async def show_life() -> None:
            while True:
                await alive.write(toy.pb.Request(heartbeat=True))
                await asyncio.sleep(0.1)

        living = asyncio.create_task(show_life())
        with pytest.raises(grpc.aio.AioRpcError) as found:
            while await silent.read():
                pass
        assert errors.from_rpc_error(found.value).reason == "DEPENDENCY_UNAVAILABLE"
        assert (await alive.read()).heartbeat
        living.cancel()
        alive.cancel()


async def test_a_reader_that_leaves_ends_the_items(toy: Any) -> None:
    worker = Worker(toy)
    worker.gate.clear()
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        call = Arriving(toy.rpc.ToyServiceStub(channel).Work())
        await call.write(toy.pb.Request(open=True))
        await call.write(ask(toy, "k"))
        await eventually(lambda: worker.running == 1)
        call.cancel()
        await eventually(lambda: worker.running == 0)


async def test_draining_is_announced_and_running_items_are_answered(toy: Any) -> None:
    worker = Worker(toy)
    worker.gate.clear()
    async with worker_running(toy, worker) as service, bare(service.port) as channel:
        call = Arriving(toy.rpc.ToyServiceStub(channel).Work())
        await call.write(toy.pb.Request(open=True))
        await call.write(ask(toy, "k"))
        await call.read()
        await eventually(lambda: worker.running == 1)
        service.stop()
        assert (await call.read()).draining
        worker.gate.set()
        assert (await call.read()).answer.key == "k"
        assert await call.read() is grpc.aio.EOF


async def test_what_has_no_answer_is_sent_again_after_a_break(toy: Any) -> None:
    first, second = Worker(toy), Worker(toy)
    first.gate.clear()
    async with worker_running(toy, first, drain_seconds=0.0) as service:
        port = service.port
        async with streaming(toy, port) as stream:
            asked = asyncio.ensure_future(stream.ask("k", ask(toy, "k", "again"), 20))
            await eventually(lambda: first.seen["k"] == 1)
            service.stop()  # items running when the grace is over are cut off
            service.stop()
            await eventually(lambda: service.stopped)
            assert not asked.done()
            with pytest.raises(errors.Unavailable):
                await stream.check()
            async with worker_running(toy, second, port=port):
                assert (await asked).answer.text == "again"
                await stream.check()
            assert second.seen == {"k": 1}


async def test_time_over_tells_whether_the_item_was_sent(toy: Any) -> None:
    worker = Worker(toy)
    worker.gate.clear()
    async with worker_running(toy, worker) as service, streaming(toy, service.port) as stream:
        with pytest.raises(errors.OutcomeUnknown):
            asked = asyncio.ensure_future(stream.ask("k", ask(toy, "k"), 1.0))
            await eventually(lambda: worker.seen["k"] == 1)
            await asked
        # The server still works on it, so its credit is still used; a late answer gives it back and disturbs nobody.
        worker.gate.set()
        assert (await stream.ask("l", ask(toy, "l"), 5)).answer.key == "l"
    async with streaming(toy, 9) as stream:
        with pytest.raises(errors.Unavailable):
            await stream.ask("k", ask(toy, "k"), 0.3)


async def test_the_same_key_cannot_be_asked_twice_at_once_and_waiting_is_bounded(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_WAITING", 2)
    async with streaming(toy, 9) as stream:
        waiting = [asyncio.ensure_future(stream.ask(key, ask(toy, key), 0.5)) for key in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(errors.AlreadyInProgress):
            await stream.ask("a", ask(toy, "a"), 0.5)
        with pytest.raises(errors.TooManyInFlight):
            await stream.ask("c", ask(toy, "c"), 0.5)
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_silent_peer_is_left_and_the_stream_opened_again(toy: Any) -> None:
    opened = 0

    async def silent(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        nonlocal opened
        opened += 1
        yield toy.pb.Response(opened=1)
        await asyncio.sleep(60)

    async with toy_running(toy, Behaviour(work=silent)) as service, streaming(toy, service.port) as stream:
        stream._silence = 0.1
        await eventually(lambda: opened >= 2)


async def test_the_askers_trace_reaches_the_item(toy: Any) -> None:
    worker = Worker(toy)
    async with worker_running(toy, worker) as service, streaming(toy, service.port) as stream:
        with service.kit.tracer.start_as_current_span("decision") as span:
            await stream.ask("k", ask(toy, "k"), 5)
        assert f"{span.get_span_context().trace_id:032x}" in worker.traces[0]


async def test_an_item_has_its_own_deadline_and_without_one_none(toy: Any) -> None:
    worker = Worker(toy)
    async with worker_running(toy, worker) as service, streaming(toy, service.port) as stream:
        await stream.ask("a", ask(toy, "a"), 5)
        await stream.ask("b", toy.pb.Request(ask=toy.pb.Ask(key="b", count=3)), 5)
    assert worker.left[0] is None
    assert worker.left[1] is not None and 2 < worker.left[1] <= 3


async def test_a_slow_reader_misses_no_answer_when_the_peer_half_closes(toy: Any) -> None:
    worker = Worker(toy, credit=1)
    worker.kit = Kit(settings())

    async def requests() -> AsyncIterator[Any]:
        yield toy.pb.Request(open=True)
        for n in range(30):
            yield ask(toy, f"k{n}")

    frames = []
    async for frame in worker.work(requests(), None):
        frames.append(frame)
        await asyncio.sleep(0.002)
    assert {frame.answer.key or frame.fault.key for frame in frames[1:]} == {f"k{n}" for n in range(30)}
    await worker.kit.close()


async def test_a_broken_request_stream_ends_the_answers(toy: Any) -> None:
    worker = Worker(toy, credit=1)
    worker.kit = Kit(settings())

    async def requests() -> AsyncIterator[Any]:
        yield toy.pb.Request(open=True)
        raise ConnectionResetError("peer gone")

    with pytest.raises(BaseExceptionGroup):
        async with asyncio.timeout(5):
            async for _ in worker.work(requests(), None):
                pass
    await worker.kit.close()
