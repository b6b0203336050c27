"""Probes of readiness over the network: the standard gRPC health service, and HTTP(S).

HTTP is one line out and one line in, so no HTTP library is loaded into a process that lives as long as the mesh.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import grpc
from grpc_health.v1 import health_pb2

from supervisor.dial import Dial, plainly
from supervisor.readiness import NotReady, Probe


def grpc_health(target: str, service: str = "", timeout_seconds: float = 2.0, dial: Dial = plainly) -> Probe:
    """Ready when the standard health service at `host:port` answers SERVING for `service`."""
    # A subchannel pool of its own: the shared one would hand a fresh attempt the backoff of the last.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]

    async def check() -> None:
        async with dial(target, options=options) as channel:
            call = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = await call(health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds)
            except grpc.aio.AioRpcError as error:
                raise NotReady(f"{target}: {error.code().name}") from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            raise NotReady(f"{target}: health is {name}")

    return check


def http_ok(url: str, ca_file: Path | None = None, timeout_seconds: float = 2.0) -> Probe:
    """Ready when a GET answers 2xx. For HTTPS the server must prove itself against `ca_file` (or the
    system's CAs).
    """

    address = urlsplit(url)

    async def check() -> None:
        try:
            secure = address.scheme == "https"
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None) if secure else None
            async with asyncio.timeout(timeout_seconds):
                status = await _get(address, context)
        except (OSError, ValueError) as error:
            raise NotReady(f"{url}: {type(error).__name__}: {error}") from error
        if not 200 <= status < 300:
            raise NotReady(f"{url}: HTTP {status}")

    return check


async def _get(address: SplitResult, context: ssl.SSLContext | None) -> int:
    """Asks for a page and returns the status of the answer. OSError (TimeoutError, ssl.SSLError), ValueError."""
    port = address.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(address.hostname, port, ssl=context)
    try:
        request = f"GET {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        protocol, status, *_ = (await reader.readline()).decode("ascii").split()
    finally:
        writer.transport.abort()  # nothing more is wanted of it
    if not protocol.startswith("HTTP/"):
        raise ValueError("no HTTP answer")
    return int(status)
