"""Products for which something failed, each with a growing pause before it is tried again."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from meshkit.backoff import Backoff
from meshkit.clock import Clock
from tradekit.units import ProductId

_LOW_SECONDS, _HIGH_SECONDS = 1.0, 15.0


@dataclass
class _Pause:
    backoff: Backoff
    until: float


class ProductPauses:
    """`again` is called with a product once its pause is over: a schedule alone may come much later."""

    def __init__(self, clock: Clock, again: Callable[[ProductId], None]) -> None:
        self._clock = clock
        self._again = again
        self._random = random.Random()
        self._pauses: dict[ProductId, _Pause] = {}

    def failed(self, product_id: ProductId) -> None:
        """The next try is made after a longer pause than the one before."""
        pause = self._pauses.get(product_id)
        if pause is None:
            backoff = Backoff(_LOW_SECONDS, _HIGH_SECONDS, self._random)
            pause = self._pauses[product_id] = _Pause(backoff, 0.0)
        seconds = pause.backoff.next_seconds()
        pause.until = self._clock.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self._again, product_id)

    def over(self, product_id: ProductId) -> None:
        """It came right, or what it failed of is gone."""
        self._pauses.pop(product_id, None)

    def holds_back(self, product_id: ProductId) -> bool:
        """Whether its time has not come."""
        pause = self._pauses.get(product_id)
        return pause is not None and self._clock.monotonic() < pause.until
