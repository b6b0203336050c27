"""What services say of themselves: nothing before it is proven, everything by its name, and the truth at their end.

The last test of this file ends every service; so the file comes last.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from generic_client import ask, outcome_of
from grpc_health.v1 import health_pb2, health_pb2_grpc
from live_mesh import DRAIN_SECONDS, LIVE, NOT_SERVING, SERVING, LiveMesh, check, health_names
from sweep_world import GOOD, World

from cli.calls import operator_channel
from cli.stack import ROOT
from supervisor.ports import free_ports
from supervisor.python_process import PYTHONPATH
from tradekit import services
from tradekit.services import SERVICES, ServiceName
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc

UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
END_SECONDS = 30.0
# The monitor tells what it sees from memory, so it serves without a database too.
DATABASE_NEEDED = [one for one in SERVICES if one is not services.MONITOR]


@pytest.mark.parametrize("service", DATABASE_NEEDED, ids=lambda one: one.name)
def test_nothing_serves_before_it_is_proven(mesh: LiveMesh, service: ServiceName):
    """All names were there from the first answer on; while the database was away only `live` said SERVING."""
    said = {name: mesh.before_proven[service.name, name] for name in health_names(service)}
    assert said.pop(LIVE) == {SERVING}
    assert set(map(frozenset, said.values())) == {frozenset({NOT_SERVING})}, said


@pytest.mark.parametrize("service", SERVICES, ids=lambda one: one.name)
async def test_every_name_is_there_and_no_other(mesh: LiveMesh, service: ServiceName):
    for name in ("", LIVE, service.full_name):
        assert await mesh.health(service, name) == SERVING, name
    assert await mesh.health(service, f"{service.full_name}/entries") in (SERVING, NOT_SERVING)
    async with mesh.channel(service) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel, "trading.nothing.v1.NothingService")
        assert outcome_of(caught.value).code == "NOT_FOUND"
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="nothing"))
        assert (await watch.read()).status == UNKNOWN
        watch.cancel()


async def test_a_model_that_is_missing_closes_entries_only(mesh: LiveMesh):
    name = services.SIGNAL.full_name
    assert await mesh.health(services.SIGNAL, name) == SERVING
    assert await mesh.health(services.SIGNAL, f"{name}/entries") == NOT_SERVING


@contextmanager
def lonely_market(mesh: LiveMesh, drain_seconds: float) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """One more market service, with timeouts of its own."""
    [port] = free_ports(1)
    plan = replace(mesh.plan, extra={**mesh.plan.extra, "DRAIN_SECONDS": str(drain_seconds), "MARKET_FOLLOW": "off"})
    environment = {
        **plan.environment_of(services.MARKET),
        services.MARKET.port_variable: str(port),
        "PYTHONPATH": PYTHONPATH,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "svc_market"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def hold(channel: grpc.aio.Channel, world: World) -> list[Any]:
    """Uploads that nobody ends, as many as may run at once; that one more is refused proves that they run."""
    stub = market_grpc.MarketServiceStub(channel)
    uploads = [stub.ImportCandles() for _ in range(2)]
    for upload in uploads:
        await upload.write(GOOD["MarketService.ImportCandles"](world)[0])
    method = market_pb.DESCRIPTOR.services_by_name["MarketService"].methods_by_name["ImportCandles"]
    async with asyncio.timeout(300):
        while (outcome := await ask(channel, method, [])).reason != "TOO_MANY_IN_FLIGHT":
            assert outcome.code not in ("PERMISSION_DENIED", "UNAUTHENTICATED"), outcome
            await asyncio.sleep(0.05)
    return uploads


async def gone(process: subprocess.Popen[bytes]) -> int:
    async with asyncio.timeout(END_SECONDS):
        while (code := process.poll()) is None:
            await asyncio.sleep(0.05)
    return code


async def test_a_second_signal_ends_the_drain(world: World):
    """A caller who never ends its upload holds a drain of five minutes, until somebody asks a second time."""
    with lonely_market(world.mesh, 300) as (process, address):
        async with operator_channel(world.mesh.plan.home, address) as channel:
            async with asyncio.timeout(300):
                while await check(channel, "") != SERVING:
                    await asyncio.sleep(0.1)
            uploads = await hold(channel, world)
            process.send_signal(signal.SIGTERM)
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=False)
            said = await _until_end(watch, lambda: None)
            assert not said or said[-1] == NOT_SERVING
            await asyncio.sleep(1.0)
            assert process.poll() is None, "the upload did not hold the drain"
            process.send_signal(signal.SIGTERM)
            assert await gone(process) == 0
            for upload in uploads:
                assert await upload.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def _until_end(watch: AsyncIterator[health_pb2.HealthCheckResponse], heard: Callable[[], None]) -> list[int]:
    """Everything that a watch says until it ends."""
    said: list[int] = []
    try:
        async for answer in watch:
            said.append(answer.status)
            heard()
    except grpc.aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
    return said


async def _watched(mesh: LiveMesh, service: ServiceName, heard: Callable[[], None]) -> list[int]:
    async with mesh.channel(service) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service.full_name))
        return await _until_end(watch, heard)


async def test_all_drain_when_told(world: World):
    """SIGTERM to all at once: watchers hear NOT_SERVING and are let go, a held upload is cut off, all end with code 0."""
    mesh = world.mesh
    pids = mesh.pids()
    open_ones = asyncio.Semaphore(0)
    async with mesh.channel(services.MARKET) as channel, asyncio.TaskGroup() as group:
        uploads = await hold(channel, world)
        watches = {one: group.create_task(_watched(mesh, one, open_ones.release)) for one in mesh.plan.services}
        for _ in watches:
            await open_ones.acquire()
        for one in mesh.plan.services:
            os.kill(pids[one.name], signal.SIGTERM)
        async with asyncio.timeout(DRAIN_SECONDS + END_SECONDS):
            while set(mesh.pids()) & {one.name for one in mesh.plan.services}:
                await asyncio.sleep(0.05)
        for upload in uploads:
            assert await upload.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    for one, watch in watches.items():
        assert watch.result() == [SERVING, NOT_SERVING], one.name
    ended = {state.name: state.last_exit for state in mesh.supervisor.state.services if state.name in pids}
    assert {ended[one.name] for one in mesh.plan.services} == {"exit code 0"}, ended
    for one in mesh.plan.services:
        assert "Traceback" not in mesh.log(one.name), one.name
