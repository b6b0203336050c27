"""An executor as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from supervisor.ports import free_ports
from supervisor.python_process import PYTHONPATH
from tests.executor.issuer import Running
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as pb_grpc

TERMINAL = (pb.ORDER_STATE_FILLED, pb.ORDER_STATE_CANCELLED, pb.ORDER_STATE_REJECTED)


async def clean(executor: Running) -> None:
    """A reconciliation that finds everything equal, as soon as orders are settled."""
    found = await executor.reconcile()
    assert found.clean, found


@asynccontextmanager
async def process(environ: dict[str, str]) -> AsyncIterator[tuple[Running, asyncio.subprocess.Process]]:
    """An executor as a process of its own."""
    port = free_ports(1)[0]
    path = PYTHONPATH
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "svc_executor",
        env={**os.environ, **environ, "EXECUTOR_PORT": str(port), "PYTHONPATH": path},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            yield Running(pb_grpc.ExecutorServiceStub(channel), port), child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
