"""Looks at a product that are due once something that passes by itself has passed: no schedule tells when that is."""

import asyncio
from collections.abc import Callable

from tradekit.units import ProductId


class LaterLooks:
    """One for each product at most. `look` is called with the product."""

    def __init__(self, look: Callable[[ProductId], None]) -> None:
        self._look = look
        self._timers: dict[ProductId, asyncio.TimerHandle] = {}

    def waits(self, product_id: ProductId) -> bool:
        """Whether one is to come."""
        return product_id in self._timers

    def look_in(self, product_id: ProductId, seconds: float) -> None:
        """One that is to come already stays."""
        if product_id not in self._timers:
            self._timers[product_id] = asyncio.get_running_loop().call_later(seconds, self._due, product_id)

    def _due(self, product_id: ProductId) -> None:
        del self._timers[product_id]
        self._look(product_id)
