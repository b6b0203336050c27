"""Brings one order nearer to its end: sends, searches, asks again, records. Every send is counted and committed first.

What the network did never decides an order's fate; only the exchange's own word does. An order that this call could not
settle stays as the row says, and the reconciler drives it again.
"""

import asyncio
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from exchange_client import (
    Accepted,
    CreateOutcome,
    Doubt,
    ExchangeClient,
    ExchangeFill,
    ExchangeOrder,
    ExchangeRefused,
    ExchangeUnavailable,
    Refused,
    Unsent,
)
from meshkit.backoff import Backoff
from svc_executor import books_store, store
from svc_executor.books import book_fill
from svc_executor.fate import Conclusion, Step, conclude, has_our_terms, next_step
from svc_executor.gate import KeyedLocks, QuietGate
from svc_executor.store import OrderRow
from tradekit.reasons import Reason
from tradekit.states import OrderState

SENDS_PER_DRIVE = 3
_LOOKS_AFTER_ACCEPTANCE = 5
# Market time of a simulation may differ from ours; the window only has to be wide enough to hold the order.
_WINDOW_MARGIN = timedelta(days=1)


class OrderDriver:
    """Works on orders, each by one task at a time. `absence`: see `svc_executor.fate`."""

    def __init__(
        self, engine: AsyncEngine, exchange: ExchangeClient, gate: QuietGate, absence: timedelta, log: Any
    ) -> None:
        self._engine = engine
        self._exchange = exchange
        self._gate = gate
        self._absence = absence
        self._log = log
        self._random = random.Random()
        self.busy = KeyedLocks()

    async def drive(self, order_id: UUID) -> OrderRow:
        """The order after everything that could be done about it now."""
        async with self.busy.hold(order_id), self._gate.working():
            try:
                return await self._drive(order_id)
            except (ExchangeUnavailable, ExchangeRefused) as error:
                self._log.warning("order_not_settled", order_id=str(order_id), why=error.message)
                return await self._read(order_id)

    async def _drive(self, order_id: UUID) -> OrderRow:
        backoff = Backoff(0.1, 2.0, self._random)
        absent, sends = False, 0
        while True:
            order = await self._read(order_id)
            match next_step(order.facts, absent, self._absence):
                case Step.DONE | Step.WAIT:
                    return order
                case Step.REFRESH:
                    return await self._refresh(order)
                case Step.GIVE_UP:
                    return await self._end(order, OrderState.REJECTED, Reason("NOT_SENT", scope="request"))
                case Step.SEARCH:
                    order = await self._in_doubt(order)
                    found = await self._search(order)
                    if found is not None:
                        return await self._take_over(order, found)
                    absent = True
                case Step.SEND:
                    if sends == SENDS_PER_DRIVE:
                        return order
                    if sends:
                        await asyncio.sleep(backoff.next_seconds())
                    sends += 1
                    settled = await self._send(order, absent)
                    if settled is not None:
                        return settled
                    absent = False

    async def _read(self, order_id: UUID) -> OrderRow:
        async with self._engine.connect() as connection:
            order = await store.get_order(connection, order_id)
        if order is None:
            raise AssertionError(f"order {order_id} is not there")
        return order

    # ---- sending -----------------------------------------------------------------------------------------------------

    async def _send(self, order: OrderRow, absent: bool) -> OrderRow | None:
        """One send. The order where that settled the question of sending, None where the next step must be found."""
        async with self._engine.begin() as connection:
            counted = await store.count_send(connection, order.order_id)
        if counted is None:
            return None
        outcome = await self._exchange.create_order(counted.body.encode())
        self._log.info(
            "order_sent", order_id=str(order.order_id), count=counted.send_count, outcome=type(outcome).__name__
        )
        return await self._after_send(order, outcome, absent)

    async def _after_send(self, order: OrderRow, outcome: CreateOutcome, absent: bool) -> OrderRow | None:
        match outcome:
            case Accepted(exchange_order_id, client_order_id) if client_order_id in ("", str(order.order_id)):
                return await self._accepted(order, exchange_order_id)
            case Accepted() | Doubt():
                self._log.warning("order_in_doubt", order_id=str(order.order_id), outcome=str(outcome)[:200])
                await self._in_doubt(order)
                return None
            case Refused(reason, message):
                return await self._not_made(order, absent, Reason(reason, observed=message[:100], scope="exchange"))
            case Unsent(why, permanent=True):
                return await self._not_made(order, absent, Reason("BAD_REQUEST", observed=why[:100], scope="exchange"))
            case Unsent(why):
                self._log.warning("order_not_sent", order_id=str(order.order_id), why=why)
                await self._forget_send(order)
                return None

    async def _not_made(self, order: OrderRow, absent: bool, reason: Reason) -> OrderRow:
        """This send made no order. That settles it unless an earlier send may have."""
        if not order.facts.doubtful or (absent and order.facts.settled_absence(self._absence)):
            return await self._end(order, OrderState.REJECTED, reason)
        self._log.warning("refused_after_doubt", order_id=str(order.order_id), reason=reason.code)
        return await self._forget_send(order)

    async def _forget_send(self, order: OrderRow) -> OrderRow:
        """The newest send made no order, so the one before it is again the newest of unknown fate, if there was one."""
        async with self._engine.begin() as connection:
            await store.get_order(connection, order.order_id, lock=True)
            return await store.change_order(connection, order.order_id, sent_at=order.sent_at)

    async def _accepted(self, order: OrderRow, exchange_order_id: str) -> OrderRow:
        """An order with our id exists; only a look at it proves that it is ours."""
        backoff = Backoff(0.05, 1.0, self._random)
        for _ in range(_LOOKS_AFTER_ACCEPTANCE):
            try:
                found = await self._exchange.order(exchange_order_id)
            except (ExchangeUnavailable, ExchangeRefused) as error:
                self._log.warning("accepted_not_seen", order_id=str(order.order_id), why=error.message)
                break
            if found is not None:
                return await self._take_over(order, found)
            await asyncio.sleep(backoff.next_seconds())
        return await self._in_doubt(order)

    async def _in_doubt(self, order: OrderRow) -> OrderRow:
        """UNKNOWN: counts as exposure, blocks entries of its product, ends only by the exchange's word."""
        if order.state is not OrderState.PENDING:
            return order
        async with self._engine.begin() as connection:
            await store.lock_account(connection)
            await store.get_order(connection, order.order_id, lock=True)
            return await store.change_order(connection, order.order_id, state=OrderState.UNKNOWN.value)

    # ---- the exchange's word -----------------------------------------------------------------------------------------

    async def _search(self, order: OrderRow) -> ExchangeOrder | None:
        """The order by its client_order_id among those listed since its decision."""
        listed = await self._exchange.orders(order.as_of - _WINDOW_MARGIN, product_id=order.product_id)
        return next((found for found in listed if found.client_order_id == str(order.order_id)), None)

    async def _refresh(self, order: OrderRow) -> OrderRow:
        found = await self._exchange.order(order.exchange_order_id or "")
        return order if found is None else await self._take_over(order, found)

    async def _take_over(self, order: OrderRow, found: ExchangeOrder) -> OrderRow:
        """Records what the exchange has. An order of other terms under our id means that ours was never made."""
        if not has_our_terms(order.facts, found):
            self._log.error("client_order_id_taken", order_id=str(order.order_id), exchange_order_id=found.order_id)
            taken = Reason("CLIENT_ORDER_ID_TAKEN", observed=found.order_id, scope="exchange")
            return await self._end(order, OrderState.REJECTED, taken)
        fills = self._bookable(await self._exchange.fills([found.order_id])) if found.filled_size > 0 else []
        conclusion = conclude(found, fills)
        return await self._record(order, found.order_id, fills, conclusion)

    def _bookable(self, fills: Iterable[ExchangeFill]) -> list[ExchangeFill]:
        kept = []
        for fill in fills:
            if fill.trade_type == "FILL":
                kept.append(fill)
            else:
                # Reversals and corrections are in the exchange's schema, undocumented; the comparison will show them.
                self._log.error("unbooked_fill", fill_id=fill.entry_id, trade_type=fill.trade_type)
        return kept

    async def _record(
        self, order: OrderRow, exchange_order_id: str, fills: list[ExchangeFill], conclusion: Conclusion
    ) -> OrderRow:
        booked = [book_fill(fill) for fill in fills]
        async with self._engine.begin() as connection:
            return await books_store.record(connection, order.order_id, exchange_order_id, booked, conclusion)

    async def _end(self, order: OrderRow, state: OrderState, reason: Reason) -> OrderRow:
        self._log.info("order_ended", order_id=str(order.order_id), state=state.value, reason=reason.code)
        async with self._engine.begin() as connection:
            return await store.end_order(connection, order.order_id, state, [reason])
