"""Ends orders on an operator's word, or because something else takes their place: what was not sent never will be, what rests
at the exchange is cancelled there.

Nothing is called cancelled that the exchange has not ended: an order whose outcome is open is only kept from being sent again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncEngine

from exchange_client import Exchange
from meshkit.errors import MeshError, NotFound
from meshkit.together import together
from schema.execution import orders
from svc_executor import store
from svc_executor.driver import OrderDriver
from svc_executor.store import OrderRow
from tradekit.states import OrderPurpose, OrderState
from tradekit.units import ProductId

# How often the exchange is asked whether a cancel has taken hold, and for how long.
_LOOKS, _FIRST_LOOK_SECONDS, _LOOK_SECONDS = 13, 0.02, 0.5


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What came of one order: a name of the contract's CancelResult, and the exchange's words where it refused."""

    order: OrderRow
    result: str
    detail: str = ""

    @property
    def over(self) -> bool:
        """Whether it trades no more; of what it did, fills may still be missing."""
        return not self.order.may_trade


class Cancelling:
    """Cancels orders that are not done."""

    def __init__(self, engine: AsyncEngine, exchange: Exchange, driver: OrderDriver, log: Any) -> None:
        self._engine = engine
        self._exchange = exchange
        self._driver = driver
        self._log = log

    async def cancel(self, product_id: ProductId | None, order_id: UUID | None = None) -> list[Cancelled]:
        """Every order that is not done, of one product or of all (None), or one order, with what came of it; oldest first.
        NotFound for an order that never was."""
        which: list[ColumnElement[bool]] = [] if product_id is None else [orders.c.product_id == product_id]
        if order_id is not None:
            async with self._engine.connect() as connection:
                if await store.get_order(connection, order_id) is None:
                    raise NotFound("order", order_id)
            which.append(orders.c.order_id == order_id)
        return await self._end("CANCELLED_BY_OPERATOR", *which)

    async def withdraw(self, order_ids: Sequence[UUID], why: str) -> list[Cancelled]:
        """The same for orders that nobody waits for, protective ones and entries that rest; `why` is a reason code."""
        mine = orders.c.purpose.in_((OrderPurpose.PROTECTION.value, OrderPurpose.ENTRY.value))
        return await self._end(why, orders.c.order_id.in_(order_ids), mine)

    async def _end(self, why: str, *which: ColumnElement[bool]) -> list[Cancelled]:
        async with self._engine.begin() as connection:
            await store.lock_account(connection)
            wanted = await store.request_cancel(connection, why, *which)
        words = await self._ask_exchange([order for order in wanted if order.exchange_order_id and order.may_trade])
        return await together(self._outcome(order, words.get(order.order_id, "")) for order in wanted)

    async def _ask_exchange(self, resting: Sequence[OrderRow]) -> dict[UUID, str]:
        """Asks for all at once; the exchange's refusals by order. A cancel only begins there: the order itself tells."""
        if not resting:
            return {}
        by_exchange_id = {str(order.exchange_order_id): order.order_id for order in resting}
        try:
            refused = await self._exchange.cancel_orders(by_exchange_id)
        except MeshError as error:
            return dict.fromkeys(by_exchange_id.values(), error.message)
        return {by_exchange_id[name]: why for name, why in refused.items() if name in by_exchange_id}

    async def _outcome(self, before: OrderRow, words: str) -> Cancelled:
        order = await self._driver.drive(before.order_id)
        if order.state is OrderState.OPEN and order.may_trade and not before.exchange_order_id:
            # It was in doubt when the others were asked for, and is known to rest by now.
            words = (await self._ask_exchange([order])).get(order.order_id, "")
        pause = _FIRST_LOOK_SECONDS
        for _ in range(_LOOKS):
            if order.state is not OrderState.OPEN or not order.may_trade:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LOOK_SECONDS)
            order = await self._driver.drive(before.order_id)
        result = _result(order)
        self._log.info("cancel", order_id=str(order.order_id), result=result, state=order.state.value, words=words)
        # Asked for twice, as when the first had not taken hold yet, the exchange refuses the second and cancels all the same.
        return Cancelled(order, result, "" if result == "CANCELLED" else words)


def _result(after: OrderRow) -> str:
    if after.state is OrderState.OPEN and after.may_trade:
        return "STILL_OPEN"
    if after.state is OrderState.OPEN:
        # It trades no more, and its fills are not all listed. What was filled whole was so before the cancel.
        part = after.done_size is not None and after.base_size is not None and after.done_size < after.base_size
        return "CANCELLED" if part else "ALREADY_DONE"
    if not after.terminal:
        return "UNKNOWN"
    if after.state is OrderState.CANCELLED and after.exchange_order_id:
        return "CANCELLED"
    # What was sent and made no order, by the exchange's word or its complete list, was over before anybody cancelled it.
    return "ENDED_UNSENT" if not after.send_count else "ALREADY_DONE"
