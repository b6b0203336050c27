"""The prices that stops are judged by: told by the exchange's feed, and asked for where that has told nothing new.

A bid that was told counts for `fresh_seconds`: the feed speaks at each match, and a market without one moves all the same.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exchange_client import BestBid, Exchange, FeedEvent
from meshkit.clock import Clock
from meshkit.errors import MeshError
from tradekit.units import Price, ProductId

_ASK_SECONDS = 2.0

Reached = Callable[[Price], bool]


class Prices:
    """Bids by product. `follow_other` is called when products begin or cease to be watched."""

    def __init__(self, exchange: Exchange, clock: Clock, log: Any, fresh_seconds: float) -> None:
        self._exchange = exchange
        self._clock = clock
        self._log = log
        self._fresh_seconds = fresh_seconds
        self._told: dict[ProductId, tuple[Price, float]] = {}
        self._watched: dict[ProductId, Reached] = {}
        self._called_at: dict[ProductId, float] = {}
        self.when_watched: Callable[[], None] = lambda: None
        self.when_reached: Callable[[ProductId], None] = lambda _: None
        self.when_lost: Callable[[], None] = lambda: None

    @property
    def watched(self) -> frozenset[ProductId]:
        """Products whose price may make something happen."""
        return frozenset(self._watched)

    def watch(self, levels: Mapping[ProductId, Reached | None]) -> None:
        """Says by product whether a price makes something happen; None: none does. Other products stay as they are."""
        before = self.watched
        for product_id, reached in levels.items():
            if reached is None:
                self._watched.pop(product_id, None)
                self._called_at.pop(product_id, None)
            else:
                self._watched[product_id] = reached
        if self.watched != before:
            self.when_watched()

    def hear(self, event: FeedEvent | None) -> None:
        """An event of the feed, or None when it is not whole any more."""
        if event is None:
            self._told.clear()
            self.when_lost()
        elif isinstance(event, BestBid):
            self._note(event)

    def _note(self, event: BestBid) -> None:
        if event.price is None:
            self._told.pop(event.product_id, None)
            return
        now = self._clock.monotonic()
        self._told[event.product_id] = event.price, now
        reached = self._watched.get(event.product_id)
        # What cannot be done at once is tried no more often than by polling.
        called = self._called_at.get(event.product_id, -self._fresh_seconds)
        if reached is not None and now - called >= self._fresh_seconds and reached(event.price):
            self._called_at[event.product_id] = now
            self.when_reached(event.product_id)

    def are_told(self) -> bool:
        """Whether the feed has told everything watched of late."""
        return self._watched.keys() <= self._fresh().keys()

    async def bids(self, product_ids: Iterable[ProductId]) -> Mapping[ProductId, Price]:
        """What somebody bids now, as far as it can be known in two seconds."""
        wanted, told = list(product_ids), self._fresh()
        found = {one: told[one] for one in wanted if one in told}
        missing = [one for one in wanted if one not in told]
        if not missing:
            return found
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return found | await self._exchange.best_bids(missing)
        except (MeshError, TimeoutError) as error:
            self._log.warning("prices_unknown", products=missing, why=type(error).__name__)
            return found

    def _fresh(self) -> dict[ProductId, Price]:
        oldest = self._clock.monotonic() - self._fresh_seconds
        return {product_id: price for product_id, (price, at) in self._told.items() if at >= oldest}
