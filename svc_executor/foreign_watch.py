"""Looks at the account's orders and fills once for each reconciliation and keeps what is not the mesh's own."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from exchange_client import Exchange, ExchangeFill, ExchangeOrder, ExchangeRefused, ExchangeUnavailable
from meshkit import database
from meshkit.errors import Unavailable
from svc_executor import foreign_store
from svc_executor.foreign import ForeignOrder, Opening, foreign_order
from svc_executor.foreign_store import KnownOrders
from svc_executor.ledger import book_fill
from tradekit.sizes import NO_BASE
from tradekit.units import BaseSize

# Fills may be listed a while after they happened; each look goes back this far behind the newest one seen.
_LOOK_BACK = timedelta(hours=1)


class ForeignWatch:
    """One check at a time."""

    def __init__(self, engine: AsyncEngine, exchange: Exchange, log: Any) -> None:
        self._engine = engine
        self._autocommit = database.autocommit(engine)
        self._exchange = exchange
        self._log = log

    async def check(self) -> None:
        """One look. What cannot be listed now is listed at the next pass: balances are compared all the same."""
        try:
            await self._check()
        except (ExchangeUnavailable, ExchangeRefused) as error:
            self._log.warning("foreign_orders_not_listed", why=error.message)
        except Unavailable:
            raise
        except Exception as error:
            # Whatever others do in the account, the mesh's own orders go on being settled and compared.
            self._log.error("foreign_orders_not_looked_at", exc_info=error)

    async def _check(self) -> None:
        async with self._autocommit.connect() as connection:
            opening = await foreign_store.read_opening(connection)
        if opening is None:
            return
        resting = {order.order_id: order for order in await self._exchange.resting_orders()}
        listed = await self._exchange.fills_since(max(opening.fills_seen_to - _LOOK_BACK, opening.opened_at))
        fills = [fill for fill in listed if opening.is_later(fill) and self._readable(fill)]
        async with self._autocommit.connect() as connection:
            known = await foreign_store.known_orders(connection, {*resting, *(fill.order_id for fill in fills)})
        found = await self._others(resting, fills, known, opening)
        newest = max((fill.trade_time for fill in fills), default=opening.fills_seen_to)
        if found or known.rested - resting.keys() or newest > opening.fills_seen_to:
            async with self._engine.begin() as connection:
                await foreign_store.save(connection, found, set(resting), newest)

    async def _others(
        self, resting: Mapping[str, ExchangeOrder], fills: Sequence[ExchangeFill], known: KnownOrders, opening: Opening
    ) -> list[ForeignOrder]:
        """The foreign ones; of those that do not rest only what has news is asked about."""
        filled: dict[str, BaseSize] = {}
        for fill in fills:
            filled[fill.order_id] = filled.get(fill.order_id, NO_BASE) + book_fill(fill).size
        found = []
        for order_id in sorted({*resting, *filled, *known.rested} - known.own):
            order = resting.get(order_id)
            if order is None and not known.has_news(order_id, filled.get(order_id, NO_BASE)):
                continue
            order = order or await self._exchange.order(order_id)
            if order is None or await self._is_own(order):
                continue
            all_fills = await self._exchange.fills([order_id]) if order.filled_size > 0 else ()
            try:
                found.append(foreign_order(order, all_fills, opening, order_id in resting))
            except (ValueError, ArithmeticError) as error:
                # It stays out of the list; what it moved shows in the balances.
                self._log.error("foreign_order_unreadable", exchange_order_id=order_id, why=str(error)[:200])
        return found

    def _readable(self, fill: ExchangeFill) -> bool:
        """Whether a fill has a side and amounts that a ledger could hold; what it moved shows in the balances if not."""
        try:
            book_fill(fill)
        except (ValueError, ArithmeticError) as error:
            self._log.error("fill_unreadable", fill_id=fill.entry_id, why=str(error)[:200])
            return False
        return True

    async def _is_own(self, order: ExchangeOrder) -> bool:
        """An own order whose exchange id is not written down yet is known by its client id."""
        async with self._autocommit.connect() as connection:
            return await foreign_store.has_client_order(connection, order.client_order_id)
