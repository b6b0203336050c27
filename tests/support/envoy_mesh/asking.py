"""Who ended a call: the sidecar in front of a service, the service itself, or nobody who was to let it in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from meshkit.errors import is_told
from meshkit.reflection import SERVICE_NAMES
from tests.contracts.contract_walk import methods
from tradekit.services import ServiceName

# What Envoy's RBAC filter says.
ACCESS_DENIED = "RBAC: access denied"
CALL_SECONDS, OPEN_SECONDS = 60.0, 0.3


class End(StrEnum):
    """How a call ended."""

    MESH = "refused by the mesh"
    SERVICE = "refused by the service"
    NOWHERE = "led nowhere"
    HEARD = "heard by the service"


@dataclass(frozen=True, slots=True)
class RpcPath:
    """An RPC as the wire knows it."""

    path: str
    asks_in_stream: bool = False
    answers_in_stream: bool = False


_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
HEALTH = tuple(RpcPath(f"/{_HEALTH.full_name}/{name}", False, name == "Watch") for name in ("Check", "Watch"))
REFLECTION = tuple(RpcPath(f"/{name}/ServerReflectionInfo", True, True) for name in SERVICE_NAMES)
UNKNOWN = (RpcPath("/no.such.Service/Method"),)


def rpcs_of(service: ServiceName) -> dict[RpcPath, Any]:
    """The RPCs of a service with their descriptors."""
    return {
        RpcPath(f"/{service.full_name}/{one.name}", one.client_streaming, one.server_streaming): one
        for one in methods()
        if one.containing_service.full_name == service.full_name
    }


async def ask(channel: grpc.aio.Channel, path: RpcPath, metadata: Any = (), *, waits: bool = True) -> End:
    """How an empty request ends. A stream that stays open is heard; with `waits` that is not believed before long, as a refusal
    may be slow to come."""
    kind = f"{'stream' if path.asks_in_stream else 'unary'}_{'stream' if path.answers_in_stream else 'unary'}"
    request: Any = _nothing() if path.asks_in_stream else b""
    call = getattr(channel, kind)(path.path)(request, timeout=CALL_SECONDS, metadata=metadata)
    ended = asyncio.ensure_future(call.code())
    done, _ = await asyncio.wait({ended}, timeout=OPEN_SECONDS if path.answers_in_stream and not waits else None)
    if not done:
        call.cancel()
        ended.cancel()
        return End.HEARD
    return await _judged(call, ended.result())


async def _judged(call: Any, code: grpc.StatusCode) -> End:
    details = await call.details()
    if code is grpc.StatusCode.PERMISSION_DENIED and details == ACCESS_DENIED:
        return End.MESH
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return End.SERVICE
    error = grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), details)
    if code is grpc.StatusCode.UNAVAILABLE and not is_told(error):
        return End.NOWHERE
    return End.HEARD


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
