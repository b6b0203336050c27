"""Spaces requests so that the exchange's own limit is not met: a token bucket that holds one second's worth."""

from __future__ import annotations

import asyncio


class Throttle:
    """At most `per_second` requests on average; waiters go in the order they came."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, per_second)
        self._tokens = self._capacity
        self._filled_at: float | None = None
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Returns when one more request may go out."""
        async with self._turn:
            self._refill()
            if self._tokens < 1:
                await asyncio.sleep((1 - self._tokens) / self._per_second)
                self._refill()
            # The sleep may have ended a tick early; going below zero by that tick is repaid by the next refill.
            self._tokens -= 1

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        elapsed = 0.0 if self._filled_at is None else now - self._filled_at
        self._tokens = min(self._capacity, self._tokens + elapsed * self._per_second)
        self._filled_at = now
