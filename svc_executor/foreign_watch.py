"""Looks at the account's orders and fills once for each reconciliation and keeps what is not the mesh's own."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from exchange_client import Exchange, ExchangeFill, ExchangeOrder, ExchangeRefused, ExchangeUnavailable
from meshkit import database
from meshkit.clock import Clock
from meshkit.errors import Unavailable
from svc_executor import foreign_store
from svc_executor.foreign import ForeignOrder, Opening, foreign_order
from svc_executor.foreign_store import KnownOrders
from svc_executor.ledger import book_fill
from tradekit.sizes import NO_BASE
from tradekit.units import BaseSize

# Fills may be listed a while after they happened: a look goes back so far behind the newest one seen, and now and then much
# farther, because that costs a request for every 250 fills of the time.
_LOOK_BACK, _FAR_BACK = timedelta(minutes=1), timedelta(hours=1)
_FAR_EVERY_SECONDS = 300.0


class ForeignWatch:
    """One check at a time."""

    def __init__(self, engine: AsyncEngine, exchange: Exchange, clock: Clock, log: Any) -> None:
        self._clock = clock
        self._looked_far_at: float | None = None
        self._engine = engine
        self._autocommit = database.autocommit(engine)
        self._exchange = exchange
        self._log = log

    async def check(self, *, far_back: bool) -> None:
        """One look, `far_back` where there is reason to; the first one goes far too. What cannot be listed now is listed at the
        next pass: balances are compared all the same."""
        now = self._clock.monotonic()
        far = far_back or self._looked_far_at is None or now - self._looked_far_at >= _FAR_EVERY_SECONDS
        try:
            await self._check(_FAR_BACK if far else _LOOK_BACK)
            if far:
                self._looked_far_at = now
        except (ExchangeUnavailable, ExchangeRefused) as error:
            self._log.warning("foreign_orders_not_listed", why=error.message)
        except Unavailable:
            raise
        except Exception as error:
            # Whatever others do in the account, the mesh's own orders go on being settled and compared.
            self._log.error("foreign_orders_not_looked_at", exc_info=error)

    async def _check(self, back: timedelta) -> None:
        async with self._autocommit.connect() as connection:
            opening = await foreign_store.read_opening(connection)
        if opening is None:
            return
        resting = {order.order_id: order for order in await self._exchange.resting_orders()}
        filled, newest = await self._filled_by_others(opening, back)
        async with self._autocommit.connect() as connection:
            known = await foreign_store.known_orders(connection, {*resting, *filled})
        found = await self._others(resting, filled, known, opening)
        if found or known.rested - resting.keys() or newest > opening.fills_seen_to:
            async with self._engine.begin() as connection:
                await foreign_store.save(connection, found, set(resting), newest)

    async def _filled_by_others(self, opening: Opening, back: timedelta) -> tuple[dict[str, BaseSize], datetime]:
        """What orders that are not known as the mesh's own have filled, and the newest fill of all. The mesh's own, which may be
        most of them, are left out page by page."""
        newest, filled, counted = opening.fills_seen_to, dict[str, BaseSize](), set[str]()
        async for page in self._exchange.fill_pages(max(opening.fills_seen_to - back, opening.opened_at)):
            fills = [fill for fill in page if opening.is_later(fill) and self._readable(fill)]
            newest = max((newest, *(fill.trade_time for fill in fills)))
            async with self._autocommit.connect() as connection:
                own = await foreign_store.own_orders(connection, {fill.order_id for fill in fills})
            for fill in fills:
                if fill.order_id not in own and fill.entry_id not in counted:
                    counted.add(fill.entry_id)
                    filled[fill.order_id] = filled.get(fill.order_id, NO_BASE) + book_fill(fill).size
        return filled, newest

    async def _others(
        self, resting: Mapping[str, ExchangeOrder], filled: Mapping[str, BaseSize], known: KnownOrders, opening: Opening
    ) -> list[ForeignOrder]:
        """The foreign ones; of those that do not rest only what has news is asked about."""
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
