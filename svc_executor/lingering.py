"""Work on a product that is waited for within a bound, and goes on to its end when that is over.

What was begun at the exchange must not be cut off in its middle, and must not keep whoever waits for it from everything else.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from meshkit.kit import Kit
from tradekit.units import ProductId

T = TypeVar("T")


class Lingering:
    """`ended` is called with a product once what nobody waited for any more is over. The kit owns the work: shutdown waits for
    it, and what it failed of is logged there."""

    def __init__(self, kit: Kit[Any], seconds: float, ended: Callable[[ProductId], None]) -> None:
        self._kit = kit
        self._seconds = seconds
        self._ended = ended
        self._left: dict[ProductId, int] = {}

    def __contains__(self, product_id: ProductId) -> bool:
        """Whether work on a product goes on that nobody waits for."""
        return product_id in self._left

    async def within(self, product_id: ProductId, work: Coroutine[Any, Any, T]) -> T | None:
        """What came of it; None where it goes on without us."""
        task = asyncio.ensure_future(self._kit.critical(work))
        try:
            done, _ = await asyncio.wait((task,), timeout=self._seconds)
        finally:
            if not task.done():
                self._left[product_id] = self._left.get(product_id, 0) + 1
                task.add_done_callback(lambda over: self._over(product_id, over))
        return task.result() if done else None

    def _over(self, product_id: ProductId, work: asyncio.Task[Any]) -> None:
        if not work.cancelled():
            work.exception()
        self._left[product_id] -= 1
        if not self._left[product_id]:
            del self._left[product_id]
        self._ended(product_id)
