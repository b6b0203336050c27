"""How long to wait before the next attempt: doubling, capped, with full jitter.

Jitter keeps a restarted peer from being met by all its clients in the same instant.
"""

from __future__ import annotations

import random


def doubled(low: float, high: float, attempt: int) -> float:
    """`low` doubled `attempt` times, at most `high`."""
    return min(high, low * 2.0 ** min(attempt, 32))


class Backoff:
    """Delays between `low` and `high` seconds; `reset` after a success."""

    def __init__(self, low: float, high: float, random_source: random.Random) -> None:
        self._low = low
        self._high = high
        self._random = random_source
        self._attempt = 0

    def next_seconds(self) -> float:
        """At least half of the doubled delay, so that jitter never means a busy loop."""
        ceiling = doubled(self._low, self._high, self._attempt)
        self._attempt += 1
        return self._random.uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        self._attempt = 0
