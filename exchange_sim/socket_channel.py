"""What a channel of the WebSocket is: a snapshot when a client asks for it, and later what has changed since.

A channel belongs to one connection and remembers what that client has been shown.
"""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from exchange_sim.socket_market import SocketMarket
from exchange_sim.views import Json

# How often changes are looked for.
BEAT_SECONDS = 0.25

Messages = list[list[Json]]  # each a message's events
Shown = TypeVar("Shown")


class Channel(Protocol):
    """`sends_as` names its messages, `every` is how many beats lie between two looks at what has changed."""

    sends_as: str
    every: int

    def subscribed(self) -> list[str]:
        """What the client follows here, as the venue lists it; empty when nothing is left."""
        ...

    async def load(self, product_ids: Sequence[str], now_us: int) -> None:
        """Fetches what the channel cannot read at once; MarketUnavailable when the source is out."""
        ...

    async def refresh(self, now_us: int) -> None:
        """The same again for what is subscribed."""
        ...

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages: ...

    def stop(self, product_ids: Sequence[str]) -> None: ...

    def update(self, now_us: int) -> Messages: ...


class OfProducts(Generic[Shown]):
    """What channels of products share: `_shown` is, by product, what the client knows."""

    def __init__(self, market: SocketMarket) -> None:
        self._market = market
        self._shown: dict[str, Shown] = {}

    def subscribed(self) -> list[str]:
        return list(self._shown)

    async def load(self, product_ids: Sequence[str], now_us: int) -> None: ...

    async def refresh(self, now_us: int) -> None:
        await self.load(self.subscribed(), now_us)

    def stop(self, product_ids: Sequence[str]) -> None:
        for product_id in product_ids:
            self._shown.pop(product_id, None)
