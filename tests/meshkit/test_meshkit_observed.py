"""What is seen of calls from outside: metrics, traces, logs, reflection, and response streams left or resumed."""

from __future__ import annotations

import asyncio
import io
import json
import logging as stdlib_logging
import re
import socket
import urllib.request
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from refusals import refused
from waiting import eventually

from meshkit import logging
from meshkit.calls import reading
from meshkit.identity import Caller
from meshkit.kit import Kit
from tests.meshkit.toys import (
    TOY_NAME,
    Behaviour,
    all_four,
    bare,
    kit_channel,
    settings,
    toy_running,
)

SECRET = "hunter2-password"


def named(metadata: Any, context: Any) -> Caller | None:
    """Test identities: the name a caller claims."""
    name = metadata.get("x-name")
    return Caller(name) if name else None


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
        codes = set()
        for _ in range(9):  # a client that is refused while it still writes may not hear why: then it asks again
            with pytest.raises(grpc.aio.AioRpcError) as found:
                await listing(service.port)
            codes.add(found.value.code())
            if found.value.code() is not grpc.StatusCode.INTERNAL:
                break
        assert found.value.code() is grpc.StatusCode.UNIMPLEMENTED, codes


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
            failed = await refused(stub.Once(toy.pb.Ask(key="fail")))
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
        service.kit.metrics.gauge("toy.waiting", "Toys that wait").set(7, {"watch": "rows"})
        page = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
        )
    text = page.decode()
    assert re.search(r'^toy_waiting\{.*watch="rows".*\} 7.0$', text, re.MULTILINE), text
    assert "rpc_server_duration_seconds_bucket" in text
