"""Every change of an order's row on its way through the exchange, each committed before anything else is done about the order.

What the exchange said of several orders at one moment is recorded in one transaction; the others are seldom.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from exchange_client import ExchangeFill
from meshkit import database
from meshkit.batch import Batches
from meshkit.dedicated import Dedicated
from svc_executor import record_store, store
from svc_executor.ledger import book_fill
from svc_executor.order_resolution import Conclusion
from svc_executor.recording import Word
from svc_executor.store import OrderRow
from tradekit.decimals import plain
from tradekit.reasons import Reason
from tradekit.states import OrderState, Side, TradingState

# Orders of one record: more would only keep the account lock for longer.
_RECORDED_AT_ONCE = 50
_UNMADE = (OrderState.PENDING, OrderState.UNKNOWN)


class OrderChanges:
    """Reads orders and changes them."""

    def __init__(self, engine: AsyncEngine, dedicated: Dedicated, log: Any) -> None:
        self._engine = engine
        self._dedicated = dedicated
        self._autocommit = database.autocommit(engine)
        self._log = log
        self._records: Batches[Word, OrderRow] = Batches(self._record_all, _RECORDED_AT_ONCE)

    async def read(self, order_id: UUID) -> tuple[OrderRow, TradingState]:
        """The order, and the trading state of the same moment."""
        async with self._autocommit.connect() as connection:
            return await store.order_and_trading(connection, order_id)

    async def watched(self) -> list[OrderRow]:
        """Ended orders that the exchange may have all the same."""
        async with self._autocommit.connect() as connection:
            return await store.watched_orders(connection)

    async def count_send(self, order: OrderRow, past: datetime | None) -> OrderRow | None:
        """Counts one more send; None where the order may not be sent, or where another process sends it as well."""
        async with self._engine.begin() as connection:
            counted = await store.count_send(connection, order.order_id, past)
            if counted is not None and counted.send_count != order.send_count + 1:
                # What was read about its sends does not hold any more.
                await connection.rollback()
                return None
        return counted

    async def forget_send(self, order: OrderRow, counted: OrderRow) -> OrderRow:
        """The newest send made no order, so the one before it is again the newest of unknown outcome, if there was one."""
        async with self._engine.begin() as connection:
            now = await store.lock_order(connection, order.order_id)
            if now.sequence != counted.sequence:
                return now
            return await store.change_order(connection, order.order_id, sent_at=order.sent_at)

    async def in_doubt(self, order: OrderRow, exchange_order_id: str | None = None) -> OrderRow:
        """UNKNOWN: counts as exposure, blocks entries of its product, ends only by the exchange's word."""
        async with self._engine.begin() as connection:
            await store.lock_account(connection)
            now = await store.lock_order(connection, order.order_id)
            known = exchange_order_id if not now.exchange_order_id and now.state in _UNMADE else None
            if now.state is not OrderState.PENDING and known is None:
                return now
            return await store.mark_unknown(connection, now, known)

    async def end(self, order: OrderRow, state: OrderState, reason: Reason) -> OrderRow:
        """Ends an order that nothing was filled of."""
        async with self._engine.begin() as connection:
            after = await store.end_order(connection, order, state, [reason])
        if after.terminal:
            self._log.info("order_ended", order_id=str(order.order_id), state=after.state.value, reason=reason.code)
        return after

    async def record(
        self, order: OrderRow, exchange_order_id: str, fills: Sequence[ExchangeFill], conclusion: Conclusion
    ) -> OrderRow:
        """The order after the exchange's word of it, with the fills that can be booked."""
        word = Word(order.order_id, exchange_order_id, tuple(map(book_fill, fills)), conclusion)
        after = await self._records.submit(word, urgent=order.side is Side.SELL)
        if after.adopted_at != order.adopted_at:
            self._log.error(
                "order_adopted",
                order_id=str(order.order_id),
                ended_as=order.state.value,
                state=after.state.value,
                filled_size=plain(after.filled_size),
            )
        return after

    async def _record_all(self, words: Sequence[Word]) -> list[OrderRow | Exception]:
        async with self._dedicated.begin() as connection:
            return list(await record_store.record(connection, words))
