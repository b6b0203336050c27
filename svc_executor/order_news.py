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

_AT_ONCE, _MOST_WAITING = 4, 1000


class OrderNews:
    """Several orders at a time, each once however often it changed meanwhile."""

    def __init__(self, kit: Kit[Any], driver: OrderDriver, reconciler: Reconciler) -> None:
        self._kit = kit
        self._driver = driver
        self._reconciler = reconciler
        self._waiting: dict[UUID, OrderChanged] = {}
        self._filled = asyncio.Event()

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
        """Asks for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._filled.clear()
                await self._filled.wait()
            order_id = next(iter(self._waiting))
            event = self._waiting.pop(order_id)
            try:
                await self._ask(order_id, event)
            except MeshError as error:
                self._kit.log.warning("order_news_not_asked_for", order_id=str(order_id), why=error.message)
                self._reconciler.ask_soon()
            except Exception as error:
                self._kit.log.error("order_news_not_asked_for", order_id=str(order_id), exc_info=error)
                self._reconciler.ask_soon()

    async def _ask(self, order_id: UUID, event: OrderChanged) -> None:
        # Whoever works on it, as on one that is just being sent, may record all of it.
        async with self._driver.busy.hold(order_id):
            pass
        async with self._kit.autocommit.connect() as connection:
            order = await store.get_order(connection, order_id)
        if order is None or not _is_news(order, event):
            return
        order = await self._kit.critical(self._driver.drive(order_id))
        if event.ended and not order.terminal:
            # Not settled yet, or its fills do not add up: the reconciliation asks again.
            self._reconciler.ask_soon()


def _ours(client_order_id: str) -> UUID | None:
    """Our orders have UUIDs there; what else is an order of somebody else."""
    try:
        return UUID(client_order_id)
    except ValueError:
        return None


def _is_news(order: OrderRow, event: OrderChanged) -> bool:
    if order.terminal or order.state is OrderState.WAITING:
        return False
    return event.ended or order.state is not OrderState.OPEN or event.filled_size != order.filled_size
