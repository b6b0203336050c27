"""Health and reflection are open to everybody, so they are bounded for everybody: places per caller, and reading in time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from waiting import eventually

from meshkit.identity import Caller, UnknownCaller
from meshkit.interceptors import places
from tests.meshkit.toys import TOY_NAME, bare, toy_running

GRPCURL = Path(sys.executable).with_name("grpcurl")
VERSIONS = ("v1", "v1alpha")


def reflect(channel: Any, version: str) -> Any:
    """A raw client of one version: bytes of its own on a path of its own."""
    return channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_reflection_answers_under_both_names_and_describes_itself(toy: Any, version: str) -> None:
    async with toy_running(toy) as service, bare(service.port) as channel:
        call = reflect(channel, version)(timeout=10)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {one.name for one in (await call.read()).list_services_response.service}
        own = {f"grpc.reflection.{one}.ServerReflection" for one in VERSIONS}
        assert names == {TOY_NAME, "grpc.health.v1.Health", *own}
        for name in sorted(names):
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
            content = (await call.read()).file_descriptor_response.file_descriptor_proto[0]
            file = descriptor_pb2.FileDescriptorProto.FromString(content)
            assert name in {f"{file.package}.{one.name}" for one in file.service}
            types = {method.input_type for one in file.service for method in one.method}
            assert all(one.startswith(f".{file.package}.") for one in types)
        await call.done_writing()


@pytest.mark.skipif(not GRPCURL.exists(), reason="grpcurl is not installed")
async def test_grpcurl_describes_everything_that_is_listed(toy: Any) -> None:
    async with toy_running(toy) as service:
        command = [str(GRPCURL), "-plaintext", "-max-time", "20", f"127.0.0.1:{service.port}", "describe"]
        asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert asked.returncode == 0, asked.stderr
        for name in (TOY_NAME, *(f"grpc.reflection.{one}.ServerReflection" for one in VERSIONS)):
            assert f"{name} is a service:" in asked.stdout


async def test_watches_and_reflection_are_bounded_per_caller_and_another_caller_still_has_room(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PER_CALLER", 4)

    def named(metadata: Any, context: Any) -> Caller:
        if "who" not in metadata:
            raise UnknownCaller("it does not say")
        return Caller(str(metadata["who"]))

    async with (
        toy_running(toy, identity=named) as service,
        bare(service.port) as first,
        bare(service.port) as second,
    ):
        request = health_pb2.HealthCheckRequest()
        watches = [health_pb2_grpc.HealthStub(channel).Watch(request) for channel in (first, second, first, second)]
        for watch in watches:
            assert await watch.read() is not grpc.aio.EOF
        refused = [health_pb2_grpc.HealthStub(first).Watch(request), reflect(second, "v1")()]
        for call in refused:
            with pytest.raises(grpc.aio.AioRpcError) as found:
                await call.read()
            assert found.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        monitor = health_pb2_grpc.HealthStub(first).Watch(request, metadata=(("who", "monitor"),))
        assert await monitor.read() is not grpc.aio.EOF, "a known caller is another one"
        assert await health_pb2_grpc.HealthStub(second).Check(request), "a question takes no place"
        watches[0].cancel()

        async def has_room() -> bool:
            try:
                return await health_pb2_grpc.HealthStub(second).Watch(request).read() is not grpc.aio.EOF
            except grpc.aio.AioRpcError:
                return False

        async with asyncio.timeout(120):
            while not await has_room():
                await asyncio.sleep(0.02)


async def test_a_reader_that_stops_reading_is_let_go_and_gives_its_place_back(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "READ_SECONDS", 0.5)
    ended: list[str] = []
    left = places.PlacesInterceptor._left

    def noted(self: Any, caller: Any) -> None:
        ended.append("left")
        left(self, caller)

    monkeypatch.setattr(places.PlacesInterceptor, "_left", noted)
    async with toy_running(toy) as service, bare(service.port) as channel:
        call = reflect(channel, "v1")()
        wanted = reflection_pb2.ServerReflectionRequest(file_containing_symbol=TOY_NAME)

        async def ask() -> None:
            for _ in range(20_000):  # answers of some kilobytes each, none of which is read
                await call.write(wanted)

        asking = asyncio.ensure_future(ask())
        await eventually(lambda: bool(ended))
        with pytest.raises(grpc.aio.AioRpcError) as found:
            async with asyncio.timeout(120):
                while await call.read() is not grpc.aio.EOF:
                    pass
        # The second is this client's own word, as a write of its own was still waiting.
        assert found.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
