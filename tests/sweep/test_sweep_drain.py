"""How services end: watchers are told, uploads that nobody ends are cut off, and a second signal does not wait."""

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
from generic_client import ask
from grpc_health.v1 import health_pb2, health_pb2_grpc
from live_mesh import DRAIN_SECONDS, NOT_SERVING, SERVING, LiveMesh, check, live_mesh
from sweep_world import upload_of_candles

from cli.calls import operator_channel
from cli.stack import ROOT
from supervisor.ports import free_ports
from supervisor.python_process import PYTHONPATH
from tradekit import services
from tradekit.services import ServiceName
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc

# Where nothing is wrong a second or two; only what would never end takes so long.
END_SECONDS = 240.0


@pytest.fixture
def mesh_to_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A mesh for one test alone, which ends it."""
    root = tmp_path_factory.mktemp("mesh")
    root.chmod(0o755)
    with live_mesh(root) as running:
        yield running


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


async def hold(channel: grpc.aio.Channel) -> list[Any]:
    """Uploads that nobody ends, as many as may run at once; that one more is refused proves that they run."""
    stub = market_grpc.MarketServiceStub(channel)
    uploads = [stub.ImportCandles() for _ in range(2)]
    for upload in uploads:
        await upload.write(upload_of_candles()[0])
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


async def test_a_second_signal_ends_the_drain(mesh: LiveMesh):
    """A caller who never ends its upload holds a drain of five minutes, until somebody asks a second time."""
    with lonely_market(mesh, 300) as (process, address):
        async with operator_channel(mesh.plan.home, address) as channel:
            async with asyncio.timeout(300):
                while await check(channel, "") != SERVING:
                    await asyncio.sleep(0.1)
            uploads = await hold(channel)
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


async def test_all_drain_when_told(mesh_to_end: LiveMesh):
    """SIGTERM to all at once: watchers hear NOT_SERVING and are let go, a held upload is cut off, all end with code 0."""
    mesh = mesh_to_end
    pids = mesh.pids()
    open_ones = asyncio.Semaphore(0)
    async with mesh.channel(services.MARKET) as channel, asyncio.TaskGroup() as group:
        uploads = await hold(channel)
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
