"""Calls of an operator's shell to the services of its instance: short deadlines, and failures that turn into words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc

from cli.exits import CommandFailed, ExitCode
from cli.instance_file import Instance, read_instance
from cli.supervise.home import MeshHome
from tradekit.services import ServiceName

T = TypeVar("T")
_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


def require_instance(home: MeshHome) -> Instance:
    """What was started here. Raises CommandFailed when nothing ever was."""
    instance = read_instance(home)
    if instance is None:
        raise CommandFailed(f"no mesh was ever started in {home.root}", "`mesh up` starts one", ExitCode.RUNNING)
    return instance


@asynccontextmanager
async def channel_to(instance: Instance, service: ServiceName) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of its own to one service."""
    async with grpc.aio.insecure_channel(instance.ports.address(service), options=_OPTIONS) as channel:
        yield channel


def ask(instance: Instance, service: ServiceName, call: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
    """One conversation with one service; `call` sets its own deadlines. Raises CommandFailed."""

    async def talk() -> T:
        async with channel_to(instance, service) as channel:
            return await call(channel)

    try:
        return asyncio.run(talk())
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect" in (error.details() or ""):
            message = f"svc_{service.name} does not answer on {instance.ports.address(service)}"
            raise CommandFailed(
                message,
                f"`mesh status` shows what is up, `mesh restart {service.name}` starts it anew",
                ExitCode.RUNNING,
            ) from None
        raise
