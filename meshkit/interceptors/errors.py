"""Maps every error to `google.rpc.Status` once, and gives unknown methods and unreadable bytes an answer with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from meshkit import errors
from meshkit.cancellation import being_cancelled
from meshkit.errors import MeshError
from meshkit.grpc_types import ServicerContext
from meshkit.interceptors.base import BaseInterceptor, Call
from meshkit.translate import translate


class _Unreadable:
    """Stands in for a request whose bytes are no message; the core would show its own exception to the caller."""


_UNREADABLE = _Unreadable()


class ErrorInterceptor(BaseInterceptor):
    def __init__(self, domain: str, log: Any, draining: asyncio.Event) -> None:
        self._domain = domain
        self._log = log
        self._draining = draining

    def reader(self, deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
        if deserialize is None:
            return None

        def read(content: bytes) -> Any:
            try:
                return deserialize(content)
            except DecodeError:
                return _UNREADABLE

        return read

    def wrap_request(self, request: Any) -> Any:
        return _all_readable(request) if hasattr(request, "__aiter__") else _readable(request)

    async def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = await super().intercept_service(continuation, details)
        return self._unknown_method(details.method) if handler is None else handler

    @asynccontextmanager
    async def wrap(self, call: Call, context: ServicerContext) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError as error:
            if being_cancelled():
                raise
            # Only an inner task was cancelled. Passed on, the caller would get no status until its deadline.
            await self._abort(context, self._inner_cancelled(error, call))
        except Exception as error:
            if _peer_left(error):
                raise asyncio.CancelledError from error
            await self._abort(context, translate(error, self._log, method=call.method))

    def _inner_cancelled(self, error: BaseException, call: Call) -> MeshError:
        if self._draining.is_set():
            return errors.Unavailable("DRAINING", "the server is going away; retry on another connection")
        return translate(error, self._log, method=call.method)

    async def _abort(self, context: ServicerContext, error: MeshError) -> None:
        await context.abort_with_status(rpc_status.to_status(errors.to_status(error, self._domain)))

    def _unknown_method(self, method: str) -> Any:
        async def refuse(request: Any, context: ServicerContext) -> None:
            message = f"no method {errors.shown(method)} on this server; list them with reflection"
            await self._abort(context, errors.rebuild(grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD", message))

        return grpc.stream_stream_rpc_method_handler(refuse)  # whatever the bytes are, nobody reads them


def _readable(request: Any) -> Any:
    if request is _UNREADABLE:
        violation = errors.Violation("request", "UNREADABLE", "its bytes are no message of this method's request type")
        raise errors.InvalidRequest([violation])
    return request


async def _all_readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _readable(request)


def _peer_left(error: BaseException) -> bool:
    """The core's way to say that nobody reads any more; its class is private to grpc."""
    return type(error).__name__ == "ExecuteBatchError"
