"""How long to wait before the next attempt: doubling, capped, with full jitter.

Jitter keeps a restarted peer from being met by all its clients in the same instant.
"""

from __future__ import annotations

import random


class Backoff:
    """Delays between `low` and `high` seconds; `reset` after a success."""

    def __init__(self, low: float, high: float, random_source: random.Random) -> None:
        self._low = low
        self._high = high
        self._random = random_source
        self._attempt = 0

    def next_seconds(self) -> float:
        """At least half of the doubled delay, so that jitter never means a busy loop."""
        ceiling = min(self._high, self._low * 2**self._attempt)
        self._attempt = min(self._attempt + 1, 32)
        return self._random.uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        self._attempt = 0
