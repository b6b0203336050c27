"""A stand-in for any workload: it takes every unary call, counts it, and fails as often as it is told to."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from envoy_mesh.plan import HOST

Answer = Callable[[str, bytes, Any], Awaitable[bytes]]
ALWAYS = 10**9


@dataclass
class Upstream:
    """`calls` by path, `metadata` of the newest. The next `failing` calls are answered with UNAVAILABLE once `answer` is
    through, as by a server whose own answer was lost."""

    answer: Answer | None = None
    failing: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    metadata: tuple[tuple[str, str | bytes], ...] = ()

    async def handle(self, path: str, request: bytes, context: Any) -> bytes:
        """One call."""
        self.calls[path] += 1
        self.metadata = tuple(context.invocation_metadata())
        answered = b"" if self.answer is None else await self.answer(path, request, self.metadata)
        if self.failing:
            self.failing -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
        return answered


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method

        async def handle(request: bytes, context: Any) -> bytes:
            return await self._upstream.handle(path, request, context)

        return grpc.unary_unary_rpc_method_handler(handle)


@asynccontextmanager
async def upstream_at(port: int, upstream: Upstream) -> AsyncIterator[Upstream]:
    """It listens at a port while the block runs."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([_Handler(upstream)])
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    try:
        yield upstream
    finally:
        await server.stop(0)
