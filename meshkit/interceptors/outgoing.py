"""The frame of every client interceptor: one core object around all four call kinds.

A channel uses an object that derives from several interceptor classes only for the first of them, so there are four
small classes, one per call kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import grpc

Presented = tuple[tuple[str, str], ...]


class Outgoing(Protocol):
    """What surrounds an outgoing call."""

    async def call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Makes the call by `continuation(details, request)`; gives the call object."""


class Presenting:
    """Adds the metadata that shows who calls, and nothing else."""

    def __init__(self, presented: Presented) -> None:
        self._presented = presented

    async def call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await continuation(details._replace(metadata=with_metadata(details, self._presented)), request)


def interceptors(outgoing: Outgoing) -> list[grpc.aio.ClientInterceptor]:
    """One interceptor per call kind."""
    return [_UnaryUnary(outgoing), _UnaryStream(outgoing), _StreamUnary(outgoing), _StreamStream(outgoing)]


def with_metadata(details: Any, added: Presented) -> grpc.aio.Metadata:
    """The call's metadata with what is added; an added key replaces one of the caller's."""
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    for key, value in added:
        metadata[key] = value
    return metadata


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await self._outgoing.call(continuation, details, request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await self._outgoing.call(continuation, details, request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        return await self._outgoing.call(continuation, details, requests)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return await self._outgoing.call(continuation, details, requests)
