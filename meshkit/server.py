"""Builds the gRPC server of a service from its spec, and refuses a spec that contradicts the contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit import connections, reflection
from meshkit.channel import MAX_MESSAGE_BYTES
from meshkit.errors import Misconfigured
from meshkit.health import HealthServicer
from meshkit.identity import IdentitySource
from meshkit.interceptors.admission import AdmissionInterceptor
from meshkit.interceptors.deadline import DeadlineInterceptor
from meshkit.interceptors.errors import ErrorInterceptor
from meshkit.interceptors.identity import IdentityInterceptor
from meshkit.interceptors.places import PlacesInterceptor
from meshkit.interceptors.telemetry import TelemetryInterceptor
from meshkit.kit import Kit
from meshkit.policy import Policy, policies
from meshkit.spec import Registration, ServiceSpec

_NEVER_SECONDS = 1e6

OPTIONS: tuple[tuple[str, int], ...] = (
    # Two processes on one port would silently share its connections.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", 1024),
    # Longer than any client's idle time; cut by age so that clients find new replicas.
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Shorter than the clients' keepalive time, or their pings count as abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Whoever has not spoken HTTP/2 by then is let go, or idle sockets would use up the connections there may be.
    ("grpc.server_handshake_timeout_ms", int(connections.HANDSHAKE_SECONDS * 1000)),
)


def build_server(kit: Kit[Any], spec: ServiceSpec, health: HealthServicer, identity: IdentitySource) -> Any:
    """The server with its interceptors and servicers, not yet bound or started."""
    table = permission_table(spec.servicers)
    domain = f"{kit.settings.service_name}.mesh"
    server = grpc.aio.server(
        interceptors=[
            TelemetryInterceptor(kit.telemetry, kit.log),
            ErrorInterceptor(domain, kit.log, kit.draining),
            IdentityInterceptor(table, identity),
            DeadlineInterceptor(table),
            AdmissionInterceptor(table, kit.draining, by_caller=kit.settings.mesh_auth != "off"),
            PlacesInterceptor(identity),
        ],
        options=[*OPTIONS, ("grpc.max_allowed_incoming_connections", connections.most_connections())],
    )
    for registration in spec.servicers:
        registration.add(registration.servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if kit.settings.mesh_reflection:
        names = [registration.full_name for registration in spec.servicers]
        reflection.enable(server, [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name])
    return server


def bind(server: Any, address: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
    """Binds the server; gives the port. A port in use is the operator's to free."""
    host = f"[{address}]" if ":" in address else address
    try:
        if credentials is not None:
            return int(server.add_secure_port(f"{host}:{port}", credentials))
        return int(server.add_insecure_port(f"{host}:{port}"))
    except RuntimeError:
        raise Misconfigured(f"cannot bind {host}:{port}; another process has it, or the address is not ours") from None


async def stop(server: Any, grace_seconds: float, hurry: asyncio.Event) -> None:
    """Refuses new calls at once and gives running ones the grace, or less when `hurry` is set.

    The core's own grace is not used: when it runs out while another stop has just finished, the core cancels the calls
    of a server that no longer exists, and the process dies of it.
    """
    stopping = asyncio.ensure_future(server.stop(_NEVER_SECONDS))
    hurrying = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait({stopping, hurrying}, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await server.stop(None)
        await stopping
    finally:
        hurrying.cancel()


def permission_table(servicers: Sequence[Registration]) -> Mapping[str, Policy]:
    """Policies of all methods; a servicer registered twice or under another's name is refused."""
    table: dict[str, Policy] = {}
    seen: set[str] = set()
    for registration in servicers:
        name = registration.full_name
        if name in seen:
            raise Misconfigured(f"{name} is registered twice")
        seen.add(name)
        recorder = _Recorder()
        registration.add(registration.servicer, recorder)
        if recorder.names != {name}:
            raise Misconfigured(f"{name} is registered with the function that adds {sorted(recorder.names)}")
        table.update(policies(name))
    return table


class _Recorder:
    """Stands in for a server to learn which service a generated `add_X_to_server` adds."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self.names.update(handler.service_name() for handler in handlers)

    def add_registered_method_handlers(self, service_name: str, handlers: Mapping[str, Any]) -> None:
        self.names.add(service_name)
