"""Drives an order for as long as somebody waits for it; what was begun goes on to its end without them."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from meshkit import deadline
from meshkit.kit import Kit
from svc_executor.driver import FirstSend, OrderDriver
from svc_executor.reconciler import Reconciler
from svc_executor.store import OrderRow
from tradekit.states import OrderState, Side

# Kept back of the caller's time, so that the order as it stands still reaches it.
_ANSWER_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 18.0
_POLL_LOW_SECONDS, _POLL_HIGH_SECONDS = 0.05, 1.0


class OrderTracker:
    """Tracks one order at a time for each caller."""

    def __init__(self, kit: Kit[Any], driver: OrderDriver, reconciler: Reconciler) -> None:
        self._kit = kit
        self._driver = driver
        self._reconciler = reconciler

    def begin(self, first: FirstSend, context: contextvars.Context) -> asyncio.Future[OrderRow]:
        """Sends for the first time, in the context of who asked for it; their leaving ends nothing."""
        work = self._kit.critical(self._told(self._driver.send_first(first)))
        sending = asyncio.get_running_loop().create_task(work, context=context)
        sending.add_done_callback(_heard)
        return sending

    async def track(
        self,
        order_id: UUID,
        sending: asyncio.Future[OrderRow] | None = None,
        longest_seconds: float = _LONGEST_WAIT_SECONDS,
    ) -> OrderRow | None:
        """Drives the order until it is terminal, rests, or is in doubt; None if the caller's time is up before."""
        left = deadline.remaining()
        seconds = min(longest_seconds, left - _ANSWER_SECONDS if left is not None else longest_seconds)
        pause = _POLL_LOW_SECONDS
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                while True:
                    if sending is not None:
                        order = await asyncio.shield(sending)
                    else:
                        order = await self._kit.critical(self._told(self._driver.drive(order_id)))
                    if order.state is not OrderState.OPEN or order.rests:
                        return order
                    sending = None
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _POLL_HIGH_SECONDS)
        except TimeoutError:
            return None

    async def _told(self, work: Coroutine[Any, Any, OrderRow]) -> OrderRow:
        """What came of it is looked after, whoever still waits for the order."""
        order = await work
        self.look_after(order)
        return order

    def look_after(self, order: OrderRow) -> None:
        """A doubt is looked into soon, and an exit that did not leave is soon sent again: nobody else does either."""
        if order.state is OrderState.UNKNOWN:
            self._reconciler.ask_soon()
        elif order.state is OrderState.PENDING and order.side is Side.SELL:
            self._reconciler.ask_to_send()


def _heard(sending: asyncio.Future[OrderRow]) -> None:
    """Whoever asked may be gone; the kit has logged the failure of its work."""
    if not sending.cancelled():
        sending.exception()
