"""Asks the exchange for orders and their fills: what several tasks want of it at one moment goes in one request."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta

from exchange_client import Exchange, ExchangeFill, ExchangeOrder, ExchangeUnavailable
from meshkit.batch import Batches, Place
from svc_executor.store import OrderRow

# Orders that are asked for by one request, and such requests at once: one that gets no answer keeps nobody from asking.
_MOST_ASKED, _ASKED_AT_ONCE = 50, 2
_EXCHANGE = Place(lambda error: isinstance(error, ExchangeUnavailable), nullcontext)
# The exchange's servers may differ by a little among themselves.
_WINDOW_MARGIN = timedelta(hours=1)


class OrderLookups:
    """One for each process."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._orders: Batches[str, ExchangeOrder | None] = Batches(
            self._orders_of, _MOST_ASKED, _EXCHANGE, _ASKED_AT_ONCE
        )
        self._fills: Batches[str, Sequence[ExchangeFill]] = Batches(
            self._fills_of, _MOST_ASKED, _EXCHANGE, _ASKED_AT_ONCE
        )

    async def order(self, exchange_order_id: str, *, urgent: bool) -> ExchangeOrder | None:
        """One order; None if the exchange does not (yet) show it."""
        return await self._orders.submit(exchange_order_id, urgent=urgent)

    async def fills(self, exchange_order_id: str, *, urgent: bool) -> Sequence[ExchangeFill]:
        """Those of one order."""
        return await self._fills.submit(exchange_order_id, urgent=urgent)

    async def search(self, order: OrderRow) -> ExchangeOrder | None:
        """The order by its client_order_id among those listed since before its first send."""
        listed = await self._exchange.orders(_since(order.search_from), product_id=order.product_id)
        return next((found for found in listed if found.client_order_id == str(order.order_id)), None)

    async def watched(self, orders: Sequence[OrderRow]) -> list[tuple[OrderRow, ExchangeOrder]]:
        """Those of orders that have ended which the exchange has: by their ids there, and by ours where it gave none."""
        by_id = {order.exchange_order_id: order for order in orders if order.exchange_order_id is not None}
        listed = await self._exchange.orders_by_id(by_id) if by_id else ()
        found = [(by_id[one.order_id], one) for one in listed if one.order_id in by_id]
        nameless = {str(order.order_id): order for order in orders if order.exchange_order_id is None}
        if nameless:
            starts = [order.search_from for order in nameless.values() if order.search_from]
            start = min(starts) if len(starts) == len(nameless) else None
            searched = await self._exchange.orders(_since(start))
            found += [(nameless[one.client_order_id], one) for one in searched if one.client_order_id in nameless]
        return found

    async def _orders_of(self, exchange_order_ids: Sequence[str]) -> list[ExchangeOrder | Exception | None]:
        """Orders by one request, None for one that the exchange does not (yet) show; what the list lacks is asked for alone."""
        several = len(exchange_order_ids) > 1
        listed = await self._exchange.orders_by_id(exchange_order_ids) if several else ()
        found: dict[str, ExchangeOrder | Exception | None] = {order.order_id: order for order in listed}
        alone = [one for one in exchange_order_ids if one not in found]
        told = await asyncio.gather(*(self._exchange.order(one) for one in alone), return_exceptions=True)
        for one, answer in zip(alone, told, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
            found[one] = answer
        return [found[one] for one in exchange_order_ids]

    async def _fills_of(self, exchange_order_ids: Sequence[str]) -> list[Sequence[ExchangeFill] | Exception]:
        """The fills of several orders by one request."""
        found: dict[str, list[ExchangeFill]] = {one: [] for one in exchange_order_ids}
        for fill in await self._exchange.fills(found):
            found[fill.order_id].append(fill)
        return [found[one] for one in exchange_order_ids]


def _since(first_send: datetime | None) -> datetime | None:
    return first_send - _WINDOW_MARGIN if first_send else None
