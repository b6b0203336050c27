"""What the exchange's feed says of our orders: each that it has changed is asked for over REST at once.

The feed only says when to ask. Nothing of an order is believed of it, and what it may have missed is asked for by a
reconciliation: when it was lost, when it tells again, and when more comes than can be looked at.
"""

import asyncio
from typing import Any
from uuid import UUID

from exchange_client import FeedEvent, OrderChanged, Synchronised
from meshkit.errors import MeshError
from meshkit.kit import Kit
from svc_executor import store
from svc_executor.driver import OrderDriver
from svc_executor.reconciler import Reconciler
from svc_executor.store import OrderRow
from tradekit.states import OrderState

# Orders asked for at a time; news kept until they can be looked at; and how long news is gathered for one look at the rows.
_AT_ONCE, _MOST_WAITING, _GATHER_SECONDS = 4, 1000, 0.03


class OrderNews:
    """All that came together is compared with the open orders at once, and each that it says something new of is asked for. One
    that somebody works on, as when it is just being sent, is looked at afterwards: all of it may be recorded by then."""

    def __init__(self, kit: Kit[Any], driver: OrderDriver, reconciler: Reconciler) -> None:
        self._kit = kit
        self._driver = driver
        self._reconciler = reconciler
        self._waiting: dict[UUID, OrderChanged] = {}
        self._filled = asyncio.Event()
        self._asked: set[UUID] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def hear(self, event: FeedEvent | None) -> None:
        """An event of the feed, or None when it is not whole any more."""
        if event is None or isinstance(event, Synchronised):
            self._reconciler.ask_soon()
        elif isinstance(event, OrderChanged):
            self._note(event)

    def _note(self, event: OrderChanged) -> None:
        order_id = _ours(event.client_order_id)
        if order_id is None:
            return
        if order_id not in self._waiting and len(self._waiting) >= _MOST_WAITING:
            self._kit.log.warning("order_news_overflow", waiting=len(self._waiting))
            self._waiting.clear()
            self._reconciler.ask_soon()
            return
        self._waiting[order_id] = event
        self._filled.set()

    async def run(self) -> None:
        """Looks for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._filled.wait()
                await asyncio.sleep(_GATHER_SECONDS)
                self._filled.clear()
                try:
                    for order_id, event in (await self._news()).items():
                        self._asked.add(order_id)
                        group.create_task(self._ask(order_id, event))
                except MeshError as error:
                    self._kit.log.warning("order_news_not_read", why=error.message)
                    self._reconciler.ask_soon()

    async def _news(self) -> dict[UUID, OrderChanged]:
        """Of what waits, that which says something new of an open order; the rest of it is dropped."""
        busy = {one for one in self._waiting if one in self._driver.busy or one in self._asked}
        told = {one: event for one, event in self._waiting.items() if one not in busy}
        self._waiting = {one: self._waiting[one] for one in busy}
        if busy:
            self._filled.set()
        if not told:
            return {}
        async with self._kit.autocommit.connect() as connection:
            orders = {order.order_id: order for order in await store.open_orders(connection)}
        return {one: event for one, event in told.items() if one in orders and _is_news(orders[one], event)}

    async def _ask(self, order_id: UUID, event: OrderChanged) -> None:
        try:
            async with self._turns:
                order = await self._kit.critical(self._driver.drive(order_id))
            done = order.terminal or not event.ended
        except MeshError as error:
            self._kit.log.warning("order_news_not_asked_for", order_id=str(order_id), why=error.message)
            done = False
        except Exception as error:
            self._kit.log.error("order_news_not_asked_for", order_id=str(order_id), exc_info=error)
            done = False
        finally:
            self._asked.discard(order_id)
        if not done:
            # It may not be settled yet, or its fills do not add up: the reconciliation asks again.
            self._reconciler.ask_soon()


def _ours(client_order_id: str) -> UUID | None:
    """Our orders have UUIDs there; what else is an order of somebody else."""
    try:
        return UUID(client_order_id)
    except ValueError:
        return None


def _is_news(order: OrderRow, event: OrderChanged) -> bool:
    if order.state is OrderState.WAITING:
        return False
    return event.ended or order.state is not OrderState.OPEN or event.filled_size != order.filled_size
