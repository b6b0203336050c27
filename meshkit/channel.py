"""Channels to other services: one per target, with keepalive, a service config made of policy, and interceptors."""

from __future__ import annotations

import grpc

from meshkit import policy
from meshkit.interceptors import client
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
    # Health is a matter for readiness and monitors; a sidecar would answer for any endpoint it picks.
    ("grpc.inhibit_health_checking", 1),
)


def open_channel(target: str, full_name: str, telemetry: Telemetry) -> grpc.aio.Channel:
    """A channel for the methods of one service; retries and time limits come from the contract's method policy."""
    return grpc.aio.insecure_channel(
        target,
        options=[*OPTIONS, ("grpc.service_config", policy.service_config(full_name))],
        interceptors=client.interceptors(telemetry),
    )
