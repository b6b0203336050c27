"""Structured logs: one line per event, with trace and span id, on standard error.

The standard library's loggers (SQLAlchemy, grpc, asyncio) are written in the same form, so one reader understands all.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Any, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor

from meshkit.text import harmless, printable, without_passwords

# Texts of many lines, and the fault that the console's renderer draws by itself.
_OF_LINES = ("exception", "stack")
_NOT_TEXT = ("exc_info",)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def logger(service: str) -> Any:
    """A logger bound to the service's name."""
    return structlog.get_logger().bind(service=service)


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sets up the process's logs; called once, by `serve` or by a command."""
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, _harmless, structlog.processors.JSONRenderer(default=str)]
        if form == "json"
        else [_harmless, structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    handler.addFilter(_not_a_departed_peer)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))


def _harmless(_: Any, __: str, event: EventDict) -> EventDict:
    """What an event was given from outside neither forges a line nor shows a password; a traceback keeps its lines."""
    return {
        name: harmless(value, "\n" if name in _OF_LINES else "") if name not in _NOT_TEXT else value
        for name, value in event.items()
    }


def _traceback(out: TextIO, fault: Any) -> None:
    """A traceback for eyes: its own lines, but nothing else that an error's text may carry."""
    drawn = io.StringIO()
    structlog.dev.plain_traceback(drawn, fault)
    out.write(without_passwords(printable(drawn.getvalue(), "\n")))


def _add_trace(_: Any, __: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _not_a_departed_peer(record: logging.LogRecord) -> bool:
    """grpc logs a peer that left while being written to as an error; it is everyday life of a stream."""
    return "ExecuteBatchError" not in record.getMessage()
