"""The deadline of the work being done, handed on to every call it makes.

gRPC for asyncio does not propagate deadlines. A server interceptor stores the absolute monotonic deadline here, client
interceptors shave a margin for the way back and refuse a call that could not do anything useful in the time left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Kept back per hop, so that this service can still answer after the one it called ran into its deadline.
MARGIN_SECONDS = 0.02
# Less time than this is not worth starting work with.
USEFUL_SECONDS = 0.02

_DEADLINE: ContextVar[float | None] = ContextVar("meshkit_deadline", default=None)


def remaining() -> float | None:
    """Seconds left for the current work; None if it has no deadline. Never negative."""
    deadline = _DEADLINE.get()
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def set_remaining(seconds: float | None) -> None:
    """Sets the deadline for the rest of this context."""
    _DEADLINE.set(None if seconds is None else time.monotonic() + seconds)


@contextmanager
def limit(seconds: float | None) -> Iterator[None]:
    """Work inside has at most `seconds`, and never more than it had outside; None limits nothing."""
    if seconds is None:
        yield
        return
    outer = _DEADLINE.get()
    inner = time.monotonic() + seconds
    token = _DEADLINE.set(inner if outer is None else min(inner, outer))
    try:
        yield
    finally:
        _DEADLINE.reset(token)
