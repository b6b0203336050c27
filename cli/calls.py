"""Calls of an operator's shell to the services of its instance: short deadlines, and failures that turn into words."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TypeVar

import grpc

from cli.exits import CommandFailed, ExitCode
from cli.instance_file import Instance, mesh_home, read_instance
from meshkit.errors import is_told
from meshkit.identity import bearer, read_token
from meshkit.interceptors import outgoing
from meshkit.interceptors.outgoing import Presenting
from meshkit.policy import OPERATOR
from supervisor.certificate_files import CertificateFiles
from supervisor.dial import plainly, with_certificate
from supervisor.home import MeshHome
from supervisor.identities import IdentityFiles
from supervisor.instance import lock_owner
from tradekit.services import ServiceName

T = TypeVar("T")
_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


def require_instance(home: MeshHome) -> Instance:
    """What was started here. Raises CommandFailed when nothing ever was."""
    instance = read_instance(home)
    if instance is None:
        raise CommandFailed(f"no mesh was ever started in {home.root}", "`mesh up` starts one", ExitCode.RUNNING)
    return instance


def require_running(home: MeshHome) -> Instance:
    """The instance, where a supervisor holds it. Raises CommandFailed: without one no restart of a service can help."""
    instance = require_instance(home)
    if lock_owner(home) is None:
        raise _nothing_runs(home)
    return instance


def is_silent(error: grpc.aio.AioRpcError) -> bool:
    """Nobody is there, or somebody who does not answer. What the service itself says carries its details."""
    codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return error.code() in codes and not is_told(error)


def no_answer(instance: Instance, service: ServiceName) -> CommandFailed:
    """A silent service in words: nothing runs at all, or it alone does not answer."""
    home = mesh_home()
    if lock_owner(home) is None:
        return _nothing_runs(home)
    return CommandFailed(
        f"svc_{service.name} does not answer on {instance.ports.address(service)}",
        f"`mesh status` shows what is up, `mesh restart {service.name}` starts it anew",
        ExitCode.RUNNING,
    )


def _nothing_runs(home: MeshHome) -> CommandFailed:
    return CommandFailed(f"nothing runs in {home.root}", "`mesh up` starts it", ExitCode.RUNNING)


@cache
def _hold_engine() -> None:
    """Held once more than it is used, so that no garbage collection ends it and waits there for its thread for ever
    (https://github.com/grpc/grpc/issues/22365): a command has one event loop for each conversation."""
    grpc.aio.init_grpc_aio()


def operator_channel(home: MeshHome, address: str, *options: tuple[str, int]) -> grpc.aio.Channel:
    """A channel of its own to a service of the instance in `home`, on which every call shows that the operator calls.

    Raises Misconfigured for a token or key that others could have read.
    """
    _hold_engine()
    certificates = CertificateFiles(home.identity)
    if os.path.lexists(certificates.certificate(OPERATOR)):
        # It lies there only where the instance was last started to know its callers by certificates.
        dial = with_certificate(certificates, OPERATOR)
        return dial(address, options=[*_OPTIONS, *options])
    file = IdentityFiles(home.identity).token(OPERATOR)
    # There is none where the instance runs with authentication off; a service that wants one says so.
    presented = bearer(read_token(file)) if os.path.lexists(file) else ()
    return plainly(address, options=[*_OPTIONS, *options], interceptors=outgoing.interceptors(Presenting(presented)))


@asynccontextmanager
async def channel_to(instance: Instance, service: ServiceName) -> AsyncIterator[grpc.aio.Channel]:
    """The operator's channel to one service of this shell's instance."""
    async with operator_channel(mesh_home(), instance.ports.address(service)) as channel:
        yield channel


def ask(instance: Instance, service: ServiceName, call: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
    """One conversation with one service; `call` sets its own deadlines. Raises CommandFailed."""

    async def talk() -> T:
        async with channel_to(instance, service) as channel:
            return await call(channel)

    try:
        return asyncio.run(talk())
    except grpc.aio.AioRpcError as error:
        if is_silent(error):
            raise no_answer(instance, service) from None
        raise
