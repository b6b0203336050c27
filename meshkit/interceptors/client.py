"""What every outgoing call gets: who calls, a deadline, the trace, a measurement, and at debug level a log record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import structlog
from opentelemetry import trace

from meshkit import deadline
from meshkit.interceptors import outgoing
from meshkit.interceptors.outgoing import Presented
from meshkit.telemetry import Telemetry


def interceptors(telemetry: Telemetry, presented: Presented = ()) -> list[grpc.aio.ClientInterceptor]:
    """One interceptor per call kind; `presented` is the metadata that shows who calls."""
    return outgoing.interceptors(_Outgoing(telemetry, presented))


class _Outgoing:
    """The shared core: prepares the call's details and observes how it ends, cancellation included."""

    def __init__(self, telemetry: Telemetry, presented: Presented) -> None:
        self._telemetry = telemetry
        self._presented = presented
        self._recording: set[asyncio.Task[None]] = set()

    async def call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        timeout = _timeout(details.timeout, method)
        span = self._telemetry.tracer.start_span(method.lstrip("/"), kind=trace.SpanKind.CLIENT)
        metadata = outgoing.with_metadata(details, self._presented)
        context = span.get_span_context()
        metadata["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        started = time.monotonic()
        try:
            call = await continuation(details._replace(timeout=timeout, metadata=metadata), request)
        except BaseException:
            span.end()
            raise
        call.add_done_callback(lambda _: self._record_later(call, method, span, started))
        return call

    def _record_later(self, call: Any, method: str, span: trace.Span, started: float) -> None:
        task = asyncio.ensure_future(self._record(call, method, span, time.monotonic() - started))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _record(self, call: Any, method: str, span: trace.Span, seconds: float) -> None:
        code = await call.code()
        attributes = {"rpc.method": method, "rpc.code": code.name}
        self._telemetry.metrics.client_duration.record(seconds, attributes)
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code is not grpc.StatusCode.OK:
            span.set_status(trace.StatusCode.ERROR, code.name)
        span.end()
        with trace.use_span(span, end_on_exit=False):
            structlog.get_logger().debug(
                "rpc_sent", method=method, code=code.name, duration_ms=round(seconds * 1000, 2)
            )


def _timeout(own: float | None, method: str) -> float | None:
    """The shorter of the call's own time and what the work being done has left, less the margin for the way back."""
    left = deadline.remaining()
    if left is None:
        return own
    usable = left - deadline.MARGIN_SECONDS
    if usable < deadline.USEFUL_SECONDS:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.aio.Metadata(),
            grpc.aio.Metadata(),
            details=f"{left * 1000:.0f} ms are left, too little to call {method}",
        )
    return usable if own is None else min(own, usable)
