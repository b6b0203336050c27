"""Looks after entries that rest: records what the exchange filled of them, and ends those that may not buy any more.

The exchange ends an entry by itself when its life is over; here it is ended too where the exchange did not, where trading is
stopped, and where what it would buy is about to be sold. What was bought until then is kept, and protected like any other.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from exchange_client import Exchange
from meshkit.errors import MeshError, Unavailable
from meshkit.kit import Kit
from svc_executor import store
from svc_executor.cancelling import Cancelling
from svc_executor.driver import OrderDriver
from svc_executor.resting import with_news
from svc_executor.resting_news import record_all
from svc_executor.store import OrderRow
from svc_executor.trading_switch import LIVE_START, TradingSwitch
from tradekit.sizes import NO_BASE
from tradekit.states import OrderState, Side
from tradekit.units import ProductId

_CANCEL_SECONDS = 5.0


def why_it_ends(entry: OrderRow, permitted: bool) -> str | None:
    """The reason code why an entry that rests is ended now; None where it stays. One whose end was asked for is asked again: the
    exchange may not have heard of it."""
    if entry.cancel_requested_at is not None:
        return entry.cancel_reason
    if not permitted:
        return "KILL_SWITCH"
    return "LIFE_OVER" if entry.now >= entry.expire_at else None


class EntryWatch:
    """One look at a time."""

    def __init__(
        self,
        kit: Kit[Any],
        exchange: Exchange,
        driver: OrderDriver,
        cancelling: Cancelling,
        switch: TradingSwitch,
        orders_are_told: Callable[[], bool],
        poll_seconds: float,
    ) -> None:
        self._kit = kit
        self._exchange = exchange
        self._driver = driver
        self._cancelling = cancelling
        self._switch = switch
        self._orders_are_told = orders_are_told
        self._poll_seconds = poll_seconds
        self._turn = asyncio.Lock()
        self._soon = asyncio.Event()
        # Entries that may rest, by order id: exchange ids and products. None before the first look.
        self._resting: dict[UUID, OrderRow] | None = None
        self._bought: Callable[[ProductId], None] = lambda _: None
        driver.when_entry_rests(self._heard)
        switch.when_stricter(self._soon.set)

    def when_bought(self, heard: Callable[[ProductId], None]) -> None:
        """Who hears of a product of which an entry that still rests has bought more."""
        self._bought = heard

    def _heard(self, entry: OrderRow) -> None:
        known = self._resting.get(entry.order_id) if self._resting is not None else None
        if self._resting is not None:
            self._resting[entry.order_id] = entry
        if entry.filled_size > (known.filled_size if known is not None else NO_BASE):
            self._bought(entry.product_id)
        if known is None:
            self._soon.set()

    async def run(self) -> None:
        """Looks for ever; while nothing rests there is nothing to do."""
        while True:
            self._soon.clear()
            try:
                idle = not await self.look(ask=not self._orders_are_told())
            except MeshError as error:
                self._kit.log.warning("entries_not_looked_at", reason=error.reason, why=error.message)
                idle = False
            except Exception as error:
                self._kit.log.error("entries_not_looked_at", exc_info=error)
                idle = False
            try:
                async with asyncio.timeout(None if idle else self._poll_seconds):
                    await self._soon.wait()
            except TimeoutError:
                pass

    async def look(self, *, ask: bool = True) -> Sequence[OrderRow]:
        """Entries that rest, after what could be done about them. Without `ask` the exchange is not asked for news of them, as
        they come by themselves. MeshError where rows cannot be read or the exchange does not answer."""
        async with self._turn:
            try:
                entries = await self._read()
            except Unavailable:
                await self._cancel_at_exchange()
                raise
            if not entries:
                return ()
            # What may not buy any more is not kept from its end by an exchange that does not list its orders.
            ended = not self._permitted() and await self._end(entries)
            news = await with_news(self._exchange, [one for one in entries if one.rests]) if ask else ()
            await record_all(self._kit, self._driver, news)
            # The exchange ends most of them with their life, so that is known first.
            if ended or news:
                entries = await self._read()
            return await self._read() if await self._end(entries) else entries

    def of(self, product_id: ProductId) -> list[UUID] | None:
        """The entries of a product that may rest: whoever sells it ends them first. None before the first look, which reads what
        another process left."""
        if self._resting is None:
            return None
        return [one.order_id for one in self._resting.values() if one.product_id == product_id]

    def _permitted(self) -> bool:
        """Whether entries may go on resting. What a start holds back has not left yet; these have."""
        return self._switch.allows(Side.BUY) or self._switch.in_force().reason == LIVE_START

    async def _read(self) -> list[OrderRow]:
        async with self._kit.autocommit.connect() as connection:
            entries = await store.entries_resting(connection)
        self._resting = {one.order_id: one for one in entries}
        return entries

    async def _end(self, entries: Sequence[OrderRow]) -> bool:
        """Whether there was anything to end."""
        permitted = self._permitted()
        ending: dict[str, list[UUID]] = {}
        for one in entries:
            why = why_it_ends(one, permitted) if one.state is OrderState.OPEN else None
            if why is not None:
                ending.setdefault(why, []).append(one.order_id)
        for why, order_ids in ending.items():
            await self._kit.critical(self._cancelling.withdraw(order_ids, why))
        return bool(ending)

    async def _cancel_at_exchange(self) -> None:
        """While trading is stopped and the database does not answer: what is known to rest is cancelled at the exchange all the
        same, and written down when the database is back."""
        known = [one.exchange_order_id for one in (self._resting or {}).values() if one.exchange_order_id]
        if not known or self._permitted():
            return
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                refused = await self._exchange.cancel_orders(known)
            self._kit.log.warning("entries_cancelled_unwritten", exchange_order_ids=known, refused=sorted(refused))
        except (MeshError, TimeoutError) as error:
            self._kit.log.error("entries_not_cancelled", exchange_order_ids=known, why=type(error).__name__)
