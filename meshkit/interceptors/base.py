"""The frame of every server interceptor: covers all four call kinds and both styles of streaming handlers.

A subclass says in `wrap` what happens before and after a call; this file knows how handlers are rebuilt, and that a
generator must be closed when its reader leaves.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from meshkit.grpc_types import ServicerContext

_INFRASTRUCTURE = ("/grpc.health.v1.Health/", "/grpc.reflection.")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of an incoming call before it runs."""

    method: str
    metadata: dict[str, str | bytes]
    streaming: bool
    infrastructure: bool


class BaseInterceptor(grpc.aio.ServerInterceptor):
    """Base of the kit's server interceptors."""

    @abstractmethod
    def wrap(self, call: Call, context: ServicerContext) -> AbstractAsyncContextManager[None]:
        """What surrounds the call."""

    def applies(self, method: str) -> bool:
        """Whether this interceptor has anything to do with the method."""
        return True

    def wrap_request(self, request: Any) -> Any:
        """The request, or iterator of requests, that is handed inwards; may raise inside `wrap`."""
        return request

    def reader(self, deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
        """What turns bytes into a request."""
        return deserialize

    async def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or not self.applies(details.method):
            return handler
        call = Call(
            method=details.method,
            metadata=dict(details.invocation_metadata or ()),
            streaming=handler.request_streaming or handler.response_streaming,
            infrastructure=is_infrastructure(details.method),
        )
        return _rebuilt(handler, self._wrapped(handler, call), self.reader(handler.request_deserializer))

    def _wrapped(self, handler: Any, call: Call) -> Callable[..., Any]:
        inner = getattr(handler, _kind(handler))
        if handler.response_streaming and not inspect.iscoroutinefunction(inner):

            async def generate(request: Any, context: ServicerContext) -> AsyncIterator[Any]:
                async with self.wrap(call, context), aclosing(inner(self.wrap_request(request), context)) as responses:
                    async for response in responses:
                        yield response

            return generate

        async def answer(request: Any, context: ServicerContext) -> Any:
            async with self.wrap(call, context):
                return await inner(self.wrap_request(request), context)

        return answer


def is_infrastructure(method: str) -> bool:
    """Health and reflection: open to every caller, bounded by places and not by policy, logged quietly."""
    return method.startswith(_INFRASTRUCTURE)


def _kind(handler: Any) -> str:
    request = "stream" if handler.request_streaming else "unary"
    response = "stream" if handler.response_streaming else "unary"
    return f"{request}_{response}"


def _rebuilt(handler: Any, behaviour: Callable[..., Any], reader: Callable[[bytes], Any] | None) -> Any:
    factory = getattr(grpc, f"{_kind(handler)}_rpc_method_handler")
    return factory(
        behaviour,
        request_deserializer=reader,
        response_serializer=handler.response_serializer,
    )
