"""Outermost: one span, one duration, one in-flight count and one log record per call, however it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry import context as context_api
from opentelemetry import trace

from meshkit import identity
from meshkit.grpc_types import ServicerContext
from meshkit.interceptors.base import BaseInterceptor, Call
from meshkit.telemetry import Telemetry, extract

_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
# By convention a caller's fault is not a server error; these are.
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class TelemetryInterceptor(BaseInterceptor):
    def __init__(self, telemetry: Telemetry, log: Any) -> None:
        self._telemetry = telemetry
        self._log = log

    @asynccontextmanager
    async def wrap(self, call: Call, context: ServicerContext) -> AsyncIterator[None]:
        metrics, started, method = self._telemetry.metrics, time.monotonic(), {"rpc.method": call.method}
        metrics.server_in_flight.add(1, method)
        span = self._telemetry.tracer.start_span(
            call.method.lstrip("/"), context=extract(call.metadata), kind=trace.SpanKind.SERVER
        )
        code = "OK"
        # Attached and never detached: each RPC has a context of its own, and a generator whose reader left may be
        # closed in another one, where detaching would fail.
        context_api.attach(trace.set_span_in_context(span))
        try:
            yield
            code = _NAMES.get(_number(context.code()), "UNKNOWN")
        except (asyncio.CancelledError, GeneratorExit):
            code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
            raise
        except BaseException:
            code = _NAMES.get(_number(context.code()) or 2, "UNKNOWN")
            raise
        finally:
            metrics.server_in_flight.add(-1, method)
            self._record(call, code, time.monotonic() - started)
            span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
            if code in _SERVER_FAULTS:
                span.set_status(trace.StatusCode.ERROR, code)
            span.end()

    def _record(self, call: Call, code: str, seconds: float) -> None:
        self._telemetry.metrics.server_duration.record(seconds, {"rpc.method": call.method, "rpc.code": code})
        write = self._log.debug if call.infrastructure else self._log.info
        caller = None if call.infrastructure else identity.caller_or_none()
        write("rpc", method=call.method, code=code, duration_ms=round(seconds * 1000, 2), caller=caller)


def _number(code: Any) -> int:
    return code if isinstance(code, int) else 0 if code is None else int(code.value[0])
