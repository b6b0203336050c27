"""What readiness is: a probe returns when its target is ready and raises `NotReady` with the reason when it is not.

Any async function without arguments is a probe. The supervisor gives each attempt its deadline and repeats it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Probe = Callable[[], Awaitable[None]]


class NotReady(Exception):
    """The target does not serve yet; the text says what was seen."""


async def always_ready() -> None:
    """For a process whose start is all there is to wait for."""
