"""Calls over real sockets: errors, permissions, deadlines, limits, on all four call kinds."""

from __future__ import annotations

import asyncio
import io
import json
import logging as stdlib_logging
import re
import socket
import time
import urllib.request
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from meshkit import deadline, errors, logging
from meshkit.calls import keep_reading, reading
from meshkit.identity import Caller, current_caller
from meshkit.kit import Kit
from meshkit.serve import Registration, ServiceSpec
from tests.meshkit.toys import (
    RELAY_NAME,
    TOY_NAME,
    Behaviour,
    bare,
    eventually,
    kit_channel,
    running,
    servicer,
    settings,
    toy_running,
)

SECRET = "hunter2-password"


def named(metadata: Any, context: Any) -> Caller | None:
    """Test identities: the name a caller claims."""
    name = metadata.get("x-name")
    return Caller(name) if name else None


async def caught(call: Any) -> errors.MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await call
    return errors.from_rpc_error(found.value)


async def all_four(stub: Any, toy: Any, **kwargs: Any) -> list[Any]:
    """One call of each kind; each gives its answers or its AioRpcError."""

    async def asks() -> Any:
        yield toy.pb.Ask(key="a")
        yield toy.pb.Ask(key="b")

    async def requests() -> Any:
        yield toy.pb.Request(ask=toy.pb.Ask(key="a"))

    results: list[Any] = []
    for make in (
        lambda: stub.Read(toy.pb.Ask(key="a"), **kwargs),
        lambda: stub.Watch(toy.pb.Ask(key="a", count=3), **kwargs),
        lambda: stub.WatchWriting(toy.pb.Ask(key="a", count=3), **kwargs),
        lambda: stub.Gather(asks(), **kwargs),
        lambda: stub.Work(requests(), **kwargs),
    ):
        call = make()
        try:
            results.append([frame async for frame in call] if hasattr(call, "read") else await call)
        except grpc.aio.AioRpcError as error:
            results.append(error)
    return results


async def test_all_call_kinds_and_both_stream_styles_pass_the_interceptors(toy: Any) -> None:
    async with toy_running(toy) as service, kit_channel(service) as channel:
        read, watch, writing, gather, work = await all_four(toy.rpc.ToyServiceStub(channel), toy)
        assert read.key == "a"
        assert [answer.number for answer in watch] == [0, 1, 2]
        assert [answer.number for answer in writing] == [0, 1, 2]
        assert gather.text == "a,b"
        assert [response.answer.key for response in work] == ["a"]


async def test_server_and_client_measure_every_call_kind(toy: Any) -> None:
    methods = ("Read", "Watch", "WatchWriting", "Gather", "Work")
    async with toy_running(toy) as service, kit_channel(service) as channel:
        await all_four(toy.rpc.ToyServiceStub(channel), toy)

        def counted(text: str, side: str) -> set[str]:
            return {m for m in methods if f"rpc_{side}_duration_seconds_count{{" in text and f'/{m}"' in text}

        await eventually(lambda: counted(service.kit.telemetry.prometheus_text().decode(), "server") == set(methods))
        text = service.kit.telemetry.prometheus_text().decode()
        assert 'rpc_code="OK"' in text
        assert "rpc_server_in_flight" in text


async def test_client_metrics_cover_all_kinds_and_cancelled_calls(toy: Any) -> None:
    async def slow(request: Any, context: Any) -> Any:
        await asyncio.sleep(30)

    behaviour = Behaviour()
    kit: Kit[Any] = Kit(settings(service_name="client"))
    async with toy_running(toy, behaviour) as service:
        stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME))
        await all_four(stub, toy)
        behaviour.read = slow
        call = stub.Read(toy.pb.Ask())
        await eventually(lambda: behaviour.calls.count("Read") == 2)
        call.cancel()

        def text() -> str:
            return kit.telemetry.prometheus_text().decode()

        for method in ("Read", "Watch", "WatchWriting", "Gather", "Work"):
            await eventually(lambda m=method: f'rpc_method="/{TOY_NAME}/{m}"' in text())
        await eventually(lambda: 'rpc_code="CANCELLED"' in text())
    await kit.close()


async def test_exception_text_never_reaches_the_caller(toy: Any, caplog: Any) -> None:
    async def fails(request: Any, context: Any) -> Any:
        raise ValueError(SECRET)

    async def fails_streaming(request: Any, context: Any) -> Any:
        raise ValueError(SECRET)
        yield

    behaviour = Behaviour(read=fails, watch=fails_streaming, work=fails_streaming)
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        for error in await all_four(toy.rpc.ToyServiceStub(channel), toy):
            assert isinstance(error, grpc.aio.AioRpcError)
            found = errors.from_rpc_error(error)
            assert error.code() is grpc.StatusCode.INTERNAL
            assert found.reason == "INTERNAL"
            assert found.metadata["error_id"] in (error.details() or "")
            assert SECRET not in str(error.details()) + str(error.trailing_metadata())


async def test_error_details_round_trip(toy: Any) -> None:
    broken = [
        errors.Violation("quote_size", "OUT_OF_RANGE", "0 is outside 1 to 5"),
        errors.Violation("id", "UUID", "x"),
    ]
    thrown: list[errors.MeshError] = [
        errors.InvalidRequest(broken),
        errors.NotFound("order", "o-1"),
        errors.RequestIdReused("r-1"),
        errors.AlreadyInProgress("r-1", retry_after=2.5),
        errors.TooManyInFlight("x", 3),
        errors.Unavailable("STALE_DATA", "old", retry_after=0.25),
        errors.OutcomeUnknown("sent, no answer", {"order": "o-1"}),
        errors.FailedPrecondition("TRADING_HALTED", "halted", {"since": "now"}),
        errors.Misconfigured("no key"),
        errors.Aborted("RESERVATION_LOST", "expired"),
        errors.DeadlineTooShort("late"),
    ]
    now: list[errors.MeshError] = []

    async def raises(request: Any, context: Any) -> Any:
        raise now[-1]

    async with toy_running(toy, Behaviour(read=raises)) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        for error in thrown:
            now.append(error)
            back = await caught(stub.Once(toy.pb.Ask()))
            assert type(back) is type(error)
            assert (back.code, back.reason, back.message) == (error.code, error.reason, error.message)
            assert (back.metadata, back.violations) == (error.metadata, error.violations)
            assert back.retry_after == pytest.approx(error.retry_after) if error.retry_after else not back.retry_after


async def test_a_flood_of_violations_still_fits_the_trailer(toy: Any) -> None:
    async def raises(request: Any, context: Any) -> Any:
        raise errors.InvalidRequest(errors.Violation(f"field[{n}]", "LENGTH", "ü" * 400) for n in range(1000))

    async with toy_running(toy, Behaviour(read=raises)) as service, bare(service.port) as channel:
        back = await caught(toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask()))
        assert isinstance(back, errors.InvalidRequest)
        assert back.violations[-1].rule == "MORE_VIOLATIONS"


async def test_a_handlers_own_abort_passes_unchanged(toy: Any) -> None:
    async def aborts(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "my own words")

    async with toy_running(toy, Behaviour(read=aborts)) as service, bare(service.port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        assert (found.value.code(), found.value.details()) == (grpc.StatusCode.DATA_LOSS, "my own words")


async def test_an_inner_cancellation_gives_a_status_at_once(toy: Any) -> None:
    async def cancelled_inside(request: Any, context: Any) -> Any:
        inner = asyncio.ensure_future(asyncio.sleep(30))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    async with toy_running(toy, Behaviour(read=cancelled_inside)) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        error = await asyncio.wait_for(caught(stub.Read(toy.pb.Ask())), 3)  # no deadline: it would hang for ever
        assert error.reason == "INTERNAL"


async def test_cancelling_a_call_cancels_its_handler(toy: Any) -> None:
    seen: list[str] = []

    async def waits(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    behaviour = Behaviour(read=waits)
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        call = toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        await eventually(lambda: "Read" in behaviour.calls)
        call.cancel()
        await eventually(lambda: seen == ["cancelled"])


async def test_unknown_method_is_refused_with_a_reason(toy: Any) -> None:
    async with toy_running(toy) as service, bare(service.port) as channel:
        call = channel.unary_unary(f"/{TOY_NAME}/Steal", toy.pb.Ask.SerializeToString, toy.pb.Answer.FromString)
        error = await caught(call(toy.pb.Ask()))
        assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD")


async def test_permissions_follow_the_method_policy(toy: Any) -> None:
    async with toy_running(toy, identity=named) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        assert (await stub.Once(toy.pb.Ask(key="k"), metadata=[("x-name", "friend")])).key == "k"
        assert (await stub.Read(toy.pb.Ask(key="k"), metadata=[("x-name", "anyone")])).key == "k"
        denied = await caught(stub.Once(toy.pb.Ask(), metadata=[("x-name", "stranger")]))
        assert isinstance(denied, errors.PermissionDenied)
        assert denied.metadata == {"caller": "stranger", "method": f"/{TOY_NAME}/Once"}
        unknown = await caught(stub.Read(toy.pb.Ask()))
        assert (unknown.code, unknown.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")
        for error in await all_four(stub, toy):
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest(service="live"))


async def test_without_authentication_the_caller_is_the_operator(toy: Any) -> None:
    async def who(request: Any, context: Any) -> Any:
        return toy.pb.Answer(text=current_caller().name)

    async with toy_running(toy, Behaviour(read=who)) as service, bare(service.port) as channel:
        assert (await toy.rpc.ToyServiceStub(channel).Once(toy.pb.Ask())).text == "operator"


async def test_server_caps_a_long_or_missing_deadline(toy: Any) -> None:
    seen: list[float | None] = []

    async def slow(request: Any, context: Any) -> Any:
        seen.append(deadline.remaining())
        await asyncio.sleep(30)

    async with toy_running(toy, Behaviour(read=slow)) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        for timeout in (None, 60):
            error = await caught(stub.Capped(toy.pb.Ask(), timeout=timeout))
            assert isinstance(error, errors.DeadlineTooShort)
    assert all(left is not None and left <= 0.3 for left in seen)
    assert len(seen) == 2


async def test_a_deadline_too_short_to_begin_is_refused_before_the_handler(toy: Any) -> None:
    behaviour = Behaviour()
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        await stub.Read(toy.pb.Ask())
        error = await caught(stub.Read(toy.pb.Ask(), timeout=0.015))
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert behaviour.calls == ["Read"]


async def test_deadlines_are_propagated_with_a_margin(toy: Any) -> None:
    """Relay calls Toy within its own call; what Toy sees is less than what the caller gave, by at least the margin."""
    seen: list[float] = []

    async def tells(request: Any, context: Any) -> Any:
        seen.append(context.time_remaining())
        return toy.pb.Answer()

    async with toy_running(toy, Behaviour(read=tells)) as inner:

        def build(_: Any, kit: Any) -> ServiceSpec:
            stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{inner.port}", TOY_NAME))

            class Relay(toy.rpc.RelayServiceServicer):
                async def Relay(self, request: Any, context: Any) -> Any:
                    left = deadline.remaining() or 0
                    if request.count:
                        await asyncio.sleep(left - 0.03)
                    try:
                        return await stub.Read(toy.pb.Ask(), timeout=60)
                    except grpc.aio.AioRpcError as error:
                        raise errors.from_rpc_error(error) from error

            return ServiceSpec([Registration(toy.rpc.add_RelayServiceServicer_to_server, Relay(), RELAY_NAME)])

        async with running(build, service_name="relay") as outer, bare(outer.port) as channel:
            stub = toy.rpc.RelayServiceStub(channel)
            began = time.monotonic()
            await stub.Relay(toy.pb.Ask(), timeout=2.0)
            assert 2.0 - (time.monotonic() - began) - 0.1 < seen[0] <= 2.0 - deadline.MARGIN_SECONDS + 0.002
            error = await caught(stub.Relay(toy.pb.Ask(count=1), timeout=1.0))
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert len(seen) == 1  # nothing useful was left, so the second call was never sent


async def test_a_full_method_neither_starves_others_nor_health(toy: Any) -> None:
    gate = asyncio.Event()

    async def waits(request: Any, context: Any) -> Any:
        if request.key == "wait":
            await gate.wait()
        return toy.pb.Answer()

    behaviour = Behaviour(read=waits)
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        calls = [stub.Once(toy.pb.Ask(key="wait")) for _ in range(2)]
        await eventually(lambda: behaviour.calls == ["Once", "Once"])
        refused = await caught(stub.Once(toy.pb.Ask()))
        assert isinstance(refused, errors.TooManyInFlight)
        assert refused.retry_after
        await stub.Read(toy.pb.Ask())
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="live"))
        gate.set()
        await asyncio.gather(*calls)
        await stub.Once(toy.pb.Ask())


async def test_over_size_messages_are_refused(toy: Any) -> None:
    async def large(request: Any, context: Any) -> Any:
        return toy.pb.Answer(text="x" * 5_000_000)

    behaviour = Behaviour()
    unlimited = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    async with toy_running(toy, behaviour) as service, bare(service.port, *unlimited) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        refused = await caught(stub.Read(toy.pb.Ask(bulk=b"x" * 5_000_000)))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        behaviour.read = large
        refused = await caught(stub.Read(toy.pb.Ask()))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        behaviour.read = None
        await stub.Read(toy.pb.Ask())


async def test_once_is_never_sent_again_by_the_transport_but_a_read_is(toy: Any) -> None:
    """Also shows that the generated service config is valid: an invalid one fails every call."""

    async def down(request: Any, context: Any) -> Any:
        raise errors.Unavailable("DEPENDENCY_UNAVAILABLE", "not now", retry_after=None)

    behaviour = Behaviour(read=down)
    async with toy_running(toy, behaviour) as service, kit_channel(service) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        assert isinstance(await caught(stub.Once(toy.pb.Ask())), errors.Unavailable)
        assert isinstance(await caught(stub.Read(toy.pb.Ask())), errors.Unavailable)
        assert behaviour.calls.count("Once") == 1
        assert behaviour.calls.count("Read") == 4


async def test_a_stream_left_early_is_cancelled_on_the_server(toy: Any) -> None:
    ended = asyncio.Event()

    async def endless(request: Any, context: Any) -> Any:
        try:
            while True:
                yield toy.pb.Answer()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with toy_running(toy, Behaviour(watch=endless)) as service, kit_channel(service) as channel:
        async with reading(toy.rpc.ToyServiceStub(channel).Watch(toy.pb.Ask())) as answers:
            async for _ in answers:
                break
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_reader_that_stops_reading_ends_a_blocked_writer(toy: Any) -> None:
    """A generator blocked in flow control gets GeneratorExit, not CancelledError; its finally must run all the same."""
    ended = asyncio.Event()

    async def floods(request: Any, context: Any) -> Any:
        try:
            while True:
                yield toy.pb.Answer(text="x" * 100_000)
        finally:
            ended.set()

    async with toy_running(toy, Behaviour(watch=floods)) as service, bare(service.port) as channel:
        call = toy.rpc.ToyServiceStub(channel).Watch(toy.pb.Ask())
        await call.read()
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 5)


async def test_reflection_lists_the_services_and_can_be_switched_off(toy: Any) -> None:
    async def listing(port: int) -> list[str]:
        async with bare(port) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)

            async def asks() -> Any:
                yield reflection_pb2.ServerReflectionRequest(list_services="")

            return [
                entry.name
                async for response in stub.ServerReflectionInfo(asks())
                for entry in response.list_services_response.service
            ]

    async with toy_running(toy, identity=named) as service:
        assert {TOY_NAME, "grpc.health.v1.Health"} <= set(await listing(service.port))
    async with toy_running(toy, mesh_reflection=False) as service:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await listing(service.port)
        assert found.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_details_are_a_google_status(toy: Any) -> None:
    async def raises(request: Any, context: Any) -> Any:
        raise errors.NotFound("order", "o-1")

    async with toy_running(toy, Behaviour(read=raises)) as service, bare(service.port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        status = rpc_status.from_call(found.value)
        assert [detail.type_url for detail in status.details] == ["type.googleapis.com/google.rpc.ErrorInfo"]


async def test_a_trace_crosses_services_and_ends_in_both(toy: Any) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    kit: Kit[Any] = Kit(settings(service_name="client"))
    kit.telemetry.add_span_processor(SimpleSpanProcessor(spans))
    async with toy_running(toy) as service:
        service.kit.telemetry.add_span_processor(SimpleSpanProcessor(spans))
        await toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME)).Read(toy.pb.Ask())
        await eventually(lambda: len(spans.get_finished_spans()) == 2)
    await kit.close()
    server, client = sorted(spans.get_finished_spans(), key=lambda span: span.kind.value)
    assert server.context.trace_id == client.context.trace_id
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id


def test_a_servicer_without_policy_or_under_a_wrong_name_is_refused(toy: Any) -> None:
    from meshkit.server import permission_table

    add, impl = toy.rpc.add_ToyServiceServicer_to_server, servicer(toy, Behaviour())
    with pytest.raises(errors.Misconfigured, match="twice"):
        permission_table([Registration(add, impl, TOY_NAME), Registration(add, impl, TOY_NAME)])
    with pytest.raises(errors.Misconfigured, match="adds"):
        permission_table([Registration(add, impl, RELAY_NAME)])
    with pytest.raises(errors.Misconfigured, match="no method policy"):
        permission_table(
            [
                Registration(
                    health_pb2_grpc.add_HealthServicer_to_server,
                    health_pb2_grpc.HealthServicer(),
                    "grpc.health.v1.Health",
                )
            ]
        )


async def test_one_log_record_per_call_with_its_trace(toy: Any) -> None:
    async def fails(request: Any, context: Any) -> Any:
        if request.key == "fail":
            raise ValueError(SECRET)
        return toy.pb.Answer()

    out, before = io.StringIO(), structlog.get_config()
    root, handlers, level = stdlib_logging.getLogger(), *_root_state()
    logging.configure("info", "json", out)
    try:
        async with toy_running(toy, Behaviour(read=fails)) as service, kit_channel(service) as channel:
            stub = toy.rpc.ToyServiceStub(channel)
            await stub.Read(toy.pb.Ask())
            failed = await caught(stub.Once(toy.pb.Ask(key="fail")))
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="live"))
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    calls = [line for line in lines if line["event"] == "rpc"]
    assert [(line["method"], line["code"], line["caller"]) for line in calls] == [
        (f"/{TOY_NAME}/Read", "OK", "operator"),
        (f"/{TOY_NAME}/Once", "INTERNAL", "operator"),
    ], "health is logged at debug level only"
    [defect] = [line for line in lines if line["event"] == "internal_error"]
    assert defect["error_id"] == failed.metadata["error_id"]
    assert SECRET in defect["exception"]
    assert defect["trace_id"] == calls[1]["trace_id"]
    assert len(defect["trace_id"]) == 32


def _root_state() -> tuple[list[stdlib_logging.Handler], int]:
    root = stdlib_logging.getLogger()
    return list(root.handlers), root.level


async def test_metrics_are_served_over_http(toy: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    async with toy_running(toy, metrics_port=port) as service, bare(service.port) as channel:
        await toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        service.kit.metrics.set_watch_lag("rows", 7)
        page = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
        )
    text = page.decode()
    assert re.search(r'^watch_lag\{.*watch="rows".*\} 7.0$', text, re.MULTILINE), text
    assert "rpc_server_duration_seconds_bucket" in text


async def test_keep_reading_resumes_after_a_break_and_gives_up_on_a_refusal(toy: Any) -> None:
    positions: list[int] = []

    async def breaks(request: Any, context: Any) -> Any:
        positions.append(request.count)
        if request.count == 4:
            raise errors.InvalidRequest([errors.Violation("count", "INVALID_POSITION", "no such position")])
        for number in range(request.count, request.count + 2):
            yield toy.pb.Answer(number=number)
        raise errors.Unavailable("DATABASE_UNAVAILABLE", "away")

    kit: Kit[Any] = Kit(settings(service_name="client"))
    seen: list[int] = []
    async with toy_running(toy, Behaviour(watch=breaks)) as service:
        stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME))
        with pytest.raises(errors.InvalidRequest):
            async for answer in keep_reading(lambda: stub.Watch(toy.pb.Ask(count=len(seen))), kit, name="toy"):
                seen.append(int(answer.number))  # noqa: PERF401 - the position grows while reading
    await kit.close()
    assert (seen, positions) == ([0, 1, 2, 3], [0, 2, 4])
