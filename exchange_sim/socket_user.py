"""The user channel: the owner's open orders when it is asked for, and every order again whenever one changes."""

from collections.abc import Callable, Iterable, Sequence

from exchange_sim import socket_views as views
from exchange_sim.orders import Order
from exchange_sim.socket_channel import Messages
from exchange_sim.views import USER_ID

BLOCK = 50


class UserOrders:
    """No product named means all, also such as the market does not list any more."""

    sends_as, every = "user", 1

    def __init__(self, open_orders: Callable[[], list[Order]]) -> None:
        self._open_orders = open_orders
        self._products: set[str] = set()
        self._all = False

    def subscribed(self) -> list[str]:
        return [USER_ID] if self._all or self._products else []

    async def load(self, product_ids: Sequence[str], now_us: int) -> None: ...

    async def refresh(self, now_us: int) -> None: ...

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        """Blocks of 50; the first that is shorter is the last, so there is one even when nothing is open."""
        self._all = self._all or not product_ids
        self._products |= set(product_ids)
        found = [one for one in self._open_orders() if not product_ids or one.product_id in product_ids]
        starts = range(0, len(found) + 1, BLOCK)
        return [[views.orders("snapshot", found[start : start + BLOCK])] for start in starts]

    def stop(self, product_ids: Sequence[str]) -> None:
        """Who follows all products keeps them until all are given up."""
        self._products -= set(product_ids)
        if not product_ids:
            self._all = False
            self._products.clear()

    def update(self, now_us: int) -> Messages:
        return []

    def changed(self, orders: Iterable[Order]) -> Messages:
        followed = [one for one in orders if self._all or one.product_id in self._products]
        starts = range(0, len(followed), BLOCK)
        return [[views.orders("update", followed[start : start + BLOCK])] for start in starts]
