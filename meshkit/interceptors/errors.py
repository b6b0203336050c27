"""Maps every error to `google.rpc.Status` once, and gives unknown methods an answer with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2
from grpc_status import rpc_status

from meshkit import errors
from meshkit.errors import MeshError
from meshkit.interceptors.around import Around, Call
from meshkit.translate import translate


class ErrorInterceptor(Around):
    def __init__(self, domain: str, log: Any, draining: asyncio.Event) -> None:
        self._domain = domain
        self._log = log
        self._draining = draining

    async def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = await super().intercept_service(continuation, details)
        return self._unknown_method(details.method) if handler is None else handler

    @asynccontextmanager
    async def around(self, call: Call, context: Any) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
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

    async def _abort(self, context: Any, error: MeshError) -> None:
        await context.abort_with_status(rpc_status.to_status(errors.to_status(error, self._domain)))

    def _unknown_method(self, method: str) -> Any:
        async def refuse(request: Any, context: Any) -> None:
            message = f"no method {errors.shown(method)} on this server; list them with reflection"
            await self._abort(context, errors.rebuild(grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD", message))

        return grpc.stream_stream_rpc_method_handler(refuse, any_pb2.Any.FromString, any_pb2.Any.SerializeToString)


def _peer_left(error: BaseException) -> bool:
    """The core's way to say that nobody reads any more; its class is private to grpc."""
    return type(error).__name__ == "ExecuteBatchError"
