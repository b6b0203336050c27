"""Channels to other services: one per target, with keepalive, a service config made of policy, and interceptors."""

from __future__ import annotations

import grpc

from meshkit import policy
from meshkit.errors import Misconfigured
from meshkit.hosts import is_loopback
from meshkit.identity import Identity
from meshkit.interceptors import client
from meshkit.renewed_channel import RenewedChannel
from meshkit.telemetry import Telemetry

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Must be longer than the server's min_ping_interval_without_data, or the server hangs up with "too_many_pings".
KEEPALIVE_MS = 30_000

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # The services of a mesh are never reached through a proxy; one named by the environment would read every call.
    ("grpc.enable_http_proxy", 0),
    # Health is a matter for readiness and monitors; a sidecar would answer for any endpoint it picks.
    ("grpc.inhibit_health_checking", 1),
)


def open_channel(target: str, full_name: str, telemetry: Telemetry, identity: Identity) -> grpc.aio.Channel:
    """A channel for the methods of one service; retries and time limits come from the contract's method policy.

    It shows who calls as `identity` says. A token travels in clear text, so Misconfigured if it would leave this machine.
    With certificates the other end must prove itself to be that service; behind a sidecar that one repeats calls, and not the
    channel as well.
    """
    if identity.presented and not stays_here(target):
        raise Misconfigured(f"MESH_AUTH=token sends a token in clear text, so {target} must be a loopback address")
    options: list[tuple[str, int | str]] = [*OPTIONS]
    options.append(("grpc.service_config", policy.service_config(full_name, retries=not identity.behind_sidecar)))
    around = client.interceptors(telemetry, identity.presented)
    certificates = identity.certificates
    if certificates is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=around)
    options += proven_as(server_name(full_name))
    return RenewedChannel(
        lambda: grpc.aio.secure_channel(target, certificates.channel_credentials(), options, interceptors=around),
        lambda: certificates.generation,
    )


def server_name(full_name: str) -> str:
    """The name that a service's certificate carries beside its SPIFFE ID: the stage in trading.STAGE.v1.StageService."""
    return full_name.split(".")[-3]


def proven_as(name: str) -> list[tuple[str, int | str]]:
    """Options of a channel whose other end must have a certificate with this name. Its own pool: a connection that an older
    certificate opened is not shared."""
    return [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]


def stays_here(target: str) -> bool:
    """True for a target of gRPC that only this machine can be: a Unix socket, or ports of the loopback."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    scheme, _, rest = target.partition(":")
    if scheme in ("ipv4", "ipv6"):
        # Several processes of one service, among which its calls are spread: ipv4:127.0.0.1:8027,127.0.0.1:9027.
        return all(is_loopback(one.rpartition(":")[0]) for one in rest.split(","))
    return is_loopback(target.rpartition("/")[2].rpartition(":")[0])
