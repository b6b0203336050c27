"""Liveness probes: the standard gRPC health service, HTTP(S), and PostgreSQL; each the cheapest question of its protocol.

Any answer counts, a refusal too: these ask whether somebody is there, `supervisor.probes` whether he serves.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2

from supervisor.dial import Dial, plainly
from supervisor.liveness import NoAnswer

_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_LARGEST_BODY_BYTES = 65_536
# SSLRequest: a server answers it with one byte before it asks who is there. https://www.postgresql.org/docs/18/protocol-message-formats.html
_SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")


class GrpcAnswers:
    """The health service at `host:port`, asked for `service`."""

    def __init__(self, target: str, service: str, dial: Dial = plainly) -> None:
        self._target = target
        self._dial = dial
        self._request = health_pb2.HealthCheckRequest(service=service)
        self._channel: grpc.aio.Channel | None = None

    async def ask(self) -> None:
        if self._channel is None:
            # A pool of its own: the shared one would hand a fresh channel the backoff of the last.
            options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
            self._channel = self._dial(self._target, options=options)
        call = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            await call(self._request)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NO_ANSWER:
                # The next question opens a channel of its own: this one keeps the certificate that it was opened with.
                await self.close()
                raise NoAnswer(f"{self._target}: {error.code().name}") from error

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


class HttpAnswers:
    """A GET of `url` on a connection that is kept. For HTTPS the server must prove itself against `ca_file`."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        self._url = url
        self._ca_file = ca_file
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self) -> None:
        try:
            if self._reader is None or self._writer is None or self._reader.at_eof():
                await self.close()
                await self._connect()
            await self._exchange()
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise NoAnswer(f"{self._url}: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.transport.abort()

    async def _connect(self) -> None:
        address = urlsplit(self._url)
        secure = address.scheme == "https"
        context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None) if secure else None
        port = address.port or (443 if context else 80)
        self._reader, self._writer = await asyncio.open_connection(address.hostname, port, ssl=context)

    async def _exchange(self) -> None:
        """One question and the whole of its answer, so that the next begins where it ends."""
        assert self._reader is not None and self._writer is not None, "_connect() comes first"
        address = urlsplit(self._url)
        self._writer.write(f"GET {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode("ascii"))
        status, *fields = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if not status.startswith("HTTP/"):
            raise ValueError("no HTTP answer")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) <= _LARGEST_BODY_BYTES and headers.get("connection") != "close":
            await self._reader.readexactly(int(length))
        else:
            await self.close()  # an answer all the same; where it ends is not worth knowing


class PostgresAnswers:
    """The server behind a Unix socket. Each question is a connection: a kept one would speak for one backend alone."""

    def __init__(self) -> None:
        self.socket_file = Path()

    async def ask(self) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket_file)
            try:
                writer.write(_SSL_REQUEST)
                await reader.readexactly(1)
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise NoAnswer(f"PostgreSQL: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Nothing is kept."""


def postgres_answers(socket_file: Path, timeout_seconds: float) -> bool:
    """The same question for a thread of its own; False when no answer comes in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(timeout_seconds)
            asking.connect(str(socket_file))
            asking.sendall(_SSL_REQUEST)
            return asking.recv(1) != b""
    except OSError:
        return False
