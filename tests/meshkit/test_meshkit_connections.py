"""Idle sockets of anybody keep nobody out: real processes, real connections, with the soft limit most systems give."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import ClientSession, ClientTimeout
from grpc_health.v1 import health_pb2, health_pb2_grpc
from waiting import eventually

from meshkit import connections
from supervisor.python_process import PYTHONPATH

SOFT = 1024
IDLE = 1500
SERVICE = """
import asyncio, sys
from aiohttp import web
from meshkit import connections, serve
from meshkit.settings import KitSettings

connections.MOST, connections.HANDSHAKE_SECONDS, connections.IDLE_SECONDS = int(sys.argv[1]), 2.0, 2.0
from meshkit import server

async def page(listener):
    app = web.Application()
    app.add_routes([web.get("/", lambda request: answer())])
    runner = web.AppRunner(app, keepalive_timeout=connections.IDLE_SECONDS)
    await runner.setup()
    async with connections.listening(runner, listener):
        await asyncio.Event().wait()

async def answer():
    from aiohttp import web
    return web.Response(text="here")

def build(settings, kit):
    import socket
    listener = socket.create_server(("127.0.0.1", 0))
    async def run():
        print("page", listener.getsockname()[1], flush=True)
        await page(listener)
    return serve.ServiceSpec([], background=[serve.Task("page", run)])

serve.serve(KitSettings, build)
"""


@contextlib.contextmanager
def serving(most: int) -> Iterator[tuple[int, int, int]]:
    """(gRPC port, HTTP port, pid) of a service that was born with a low soft limit."""

    def born_poor() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "SERVICE_NAME": "idle",
        "PORT": str(port),
        "PYTHONPATH": PYTHONPATH,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(most)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=born_poor,
    )
    try:
        assert process.stdout is not None
        page = next(int(line.split()[1]) for line in process.stdout if line.startswith("page "))
        yield port, page, process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def idle(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that never say a word."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(count)]


async def healthy(port: int) -> bool:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        request = health_pb2.HealthCheckRequest(service="live")
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=20, wait_for_ready=True)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def page_answers(port: int) -> bool:
    async with (
        ClientSession(timeout=ClientTimeout(20)) as session,
        session.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        return await answer.text() == "here"


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture(autouse=True)
def room_for_the_test_itself() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if connections.raise_limit() < 2 * IDLE + 500:
        pytest.skip(f"this system allows no {2 * IDLE + 500} open files in a process")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
async def test_more_idle_connections_than_the_soft_limit_hold_up_no_call_and_are_let_go() -> None:
    with serving(most=4096) as (port, page, pid), idle(port, IDLE) as spoken_to, idle(page, IDLE):
        assert await healthy(port)
        assert await page_answers(page)
        await eventually(lambda: descriptors(pid) < 200)
        spoken_to[0].settimeout(5)
        while spoken_to[0].recv(4096):  # what the server says first, then its end
            pass
        assert await healthy(port)
        assert await page_answers(page)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
async def test_connections_are_bounded_and_who_comes_later_has_its_turn() -> None:
    with serving(most=100) as (port, page, pid), idle(port, 300), idle(page, 300):
        await eventually(lambda: descriptors(pid) < 300)
        assert await healthy(port), "the connections that say nothing were let go"
        await eventually(lambda: descriptors(pid) < 100)
        assert await page_answers(page)


def test_a_low_limit_of_the_system_leaves_half_of_it_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def limits(soft: int) -> Any:
        return lambda _: (soft, soft)

    monkeypatch.setattr(resource, "getrlimit", limits(1000))
    assert connections.most_connections() == 500
    monkeypatch.setattr(resource, "getrlimit", limits(resource.RLIM_INFINITY))
    assert connections.most_connections() == connections.MOST
