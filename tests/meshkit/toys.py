"""Toy services over real sockets: their contract is compiled here, with the mesh's own method policy options."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from meshkit import lifecycle
from meshkit.kit import Kit
from meshkit.lifecycle import Service
from meshkit.settings import KitSettings
from meshkit.spec import Registration, ServiceSpec

ROOT = Path(__file__).resolve().parents[2]
TOY = """
syntax = "proto3";
package toykit.v1;
import "trading/options/v1/policy.proto";

message Ask { string key = 1; string text = 2; bytes bulk = 3; uint32 count = 4; string traceparent = 5; }
message Answer { string key = 1; string text = 2; double number = 3; }
message Fault { string key = 1; int32 code = 2; string reason = 3; string message = 4; }
message Request { oneof frame { bool open = 1; Ask ask = 2; bool heartbeat = 3; } }
message Response {
  oneof frame { uint32 opened = 1; Answer answer = 2; Fault fault = 3; bool heartbeat = 4; bool draining = 5; }
}

service ToyService {
  rpc Read(Ask) returns (Answer) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_READ deadline: {seconds: 5} max_in_flight: 100 }; }
  rpc Capped(Ask) returns (Answer) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_READ deadline: {nanos: 300000000} max_in_flight: 100 }; }
  rpc Once(Ask) returns (Answer) { option (trading.options.v1.policy) = {
    callers: ["friend", "operator"] effect: EFFECT_ONCE deadline: {seconds: 5} max_in_flight: 2 }; }
  rpc Watch(Ask) returns (stream Answer) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_READ max_in_flight: 100 }; }
  rpc WatchWriting(Ask) returns (stream Answer) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_READ max_in_flight: 100 }; }
  rpc Gather(stream Ask) returns (Answer) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_IDEMPOTENT max_in_flight: 100 }; }
  rpc Work(stream Request) returns (stream Response) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_IDEMPOTENT max_in_flight: 100 }; }
}

service RelayService {
  rpc Relay(Ask) returns (Answer) { option (trading.options.v1.policy) = {
    callers: "*" effect: EFFECT_READ deadline: {seconds: 5} max_in_flight: 100 }; }
}
"""
TOY_NAME = "toykit.v1.ToyService"
RELAY_NAME = "toykit.v1.RelayService"


@dataclass
class Behaviour:
    """What the toy servicer does: one replaceable function per method."""

    read: Callable[..., Any] | None = None
    watch: Callable[..., Any] | None = None
    work: Callable[..., Any] | None = None
    calls: list[str] = field(default_factory=list)


def servicer(toy: Any, behaviour: Behaviour) -> Any:
    """A toy servicer whose unary methods share `behaviour.read`."""

    class Toy(toy.rpc.ToyServiceServicer):
        async def _unary(self, method: str, request: Any, context: Any) -> Any:
            behaviour.calls.append(method)
            if behaviour.read is None:
                return toy.pb.Answer(key=request.key, text=request.text)
            return await behaviour.read(request, context)

        async def Read(self, request: Any, context: Any) -> Any:
            return await self._unary("Read", request, context)

        async def Capped(self, request: Any, context: Any) -> Any:
            return await self._unary("Capped", request, context)

        async def Once(self, request: Any, context: Any) -> Any:
            return await self._unary("Once", request, context)

        async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
            behaviour.calls.append("Watch")
            if behaviour.watch is not None:
                async for answer in behaviour.watch(request, context):
                    yield answer
                return
            for number in range(request.count):
                yield toy.pb.Answer(key=request.key, number=number)

        async def WatchWriting(self, request: Any, context: Any) -> None:
            behaviour.calls.append("WatchWriting")
            for number in range(request.count):
                await context.write(toy.pb.Answer(key=request.key, number=number))
            if behaviour.read is not None:
                await behaviour.read(request, context)

        async def Gather(self, requests: AsyncIterator[Any], context: Any) -> Any:
            behaviour.calls.append("Gather")
            keys = [request.key async for request in requests]
            if behaviour.read is not None:
                await behaviour.read(None, context)
            return toy.pb.Answer(text=",".join(keys))

        async def Work(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            behaviour.calls.append("Work")
            if behaviour.work is not None:
                async for response in behaviour.work(requests, context):
                    yield response
                return
            async for request in requests:
                yield toy.pb.Response(answer=toy.pb.Answer(key=request.ask.key))

    return Toy()


def settings(**changes: Any) -> KitSettings:
    given: dict[str, Any] = {"service_name": "toy", "port": 0, "drain_seconds": 2.0}
    return KitSettings(**{**given, **changes})


@contextlib.asynccontextmanager
async def running(
    build: Callable[[KitSettings, Kit[Any]], Any], *, identity: Any = None, **changes: Any
) -> AsyncIterator[Service]:
    """A service in this process on a free port; drained and stopped at the end."""
    service = await lifecycle.create(settings(**changes), build, identity=identity)
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(service.run(lambda _: started.set_result(None)))
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield service
    finally:
        service.stop()
        service.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 60)


@contextlib.asynccontextmanager
async def toy_running(
    toy: Any,
    behaviour: Behaviour | None = None,
    *,
    identity: Any = None,
    spec: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[Service]:
    """The toy service; `spec` holds further arguments of ServiceSpec."""

    def build(_: KitSettings, kit: Kit[Any]) -> ServiceSpec:
        chosen = behaviour or Behaviour()
        own = Registration(toy.rpc.add_ToyServiceServicer_to_server, servicer(toy, chosen), TOY_NAME)
        return ServiceSpec([own], **(spec or {}))

    async with running(build, identity=identity, **changes) as service:
        yield service


@contextlib.asynccontextmanager
async def bare(port: int, *options: tuple[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    """A plain channel that shares nothing with other tests."""
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), *options]
    ) as channel:
        yield channel


@contextlib.asynccontextmanager
async def kit_channel(service: Service, full_name: str = TOY_NAME) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of a client's own kit to the service."""
    kit: Kit[Any] = Kit(settings(service_name="client"))
    try:
        yield kit.channel(f"127.0.0.1:{service.port}", full_name)
    finally:
        await kit.close()


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
        result = await _result(make())
        while isinstance(result, grpc.aio.AioRpcError) and _lost(result):
            result = await _result(make())
        results.append(result)
    return results


async def _result(call: Any) -> Any:
    try:
        return [frame async for frame in call] if hasattr(call, "read") else await call
    except grpc.aio.AioRpcError as error:
        return error


def _lost(error: grpc.aio.AioRpcError) -> bool:
    """Whether grpc.aio tells of its own send, for which the call had ended already, in place of the word that ended it."""
    return error.code() is grpc.StatusCode.INTERNAL and "execute_batch" in (error.debug_error_string() or "")
