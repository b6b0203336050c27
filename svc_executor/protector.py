"""Keeps every position protected: looks after a fill, at each bar, on a schedule, and whenever it is asked.

A look reads what is there and does what `svc_executor.protection_step` says, one step after the other, so whatever ended a
look in its middle, the next one goes on from the rows. An exit takes the place of what protects: it is withdrawn first, and
what the exit leaves is protected again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from exchange_client import Exchange, ExchangeProduct
from meshkit.errors import MeshError
from meshkit.kit import Kit
from svc_executor import protection_store, protection_writing, store
from svc_executor.availability import Availability
from svc_executor.bracket_tries import SHORTEST_SECONDS
from svc_executor.cancelling import Cancelling
from svc_executor.driver import OrderDriver
from svc_executor.entry_watch import EntryWatch
from svc_executor.exit_plan import ExitRules
from svc_executor.intent import BodyOf
from svc_executor.later_looks import LaterLooks
from svc_executor.lingering import Lingering
from svc_executor.locks import KeyedLocks
from svc_executor.look_schedule import LookSchedule
from svc_executor.order_tracker import OrderTracker
from svc_executor.prices import Prices
from svc_executor.product_pauses import ProductPauses
from svc_executor.product_rules import ProductRules
from svc_executor.protection_step import (
    Held,
    Protect,
    Send,
    Withdraw,
    can_be_protected,
    next_step,
    next_try,
    price_acts,
)
from svc_executor.protection_store import HeldRow
from svc_executor.resting_news import hear_of
from svc_executor.settings import ExecutorSettings
from svc_executor.store import OrderRow
from svc_executor.trading_switch import TradingSwitch
from tradekit.states import OrderState, OrderType, ProtectionMode, Side
from tradekit.units import BaseSize, Price, ProductId

# Withdraw, write, send, and once more for what was refused as a bracket.
_MOST_STEPS = 5
_TRACK_SECONDS = 5.0
# An exit has 20 seconds, and sells within what is left of them.
_RELEASE_SECONDS = 8.0


class Protector:
    """One look at a time for each product."""

    def __init__(
        self,
        settings: ExecutorSettings,
        kit: Kit[Any],
        exchange: Exchange,
        rules: ProductRules,
        cancelling: Cancelling,
        driver: OrderDriver,
        tracker: OrderTracker,
        switch: TradingSwitch,
        available: Availability,
        entries: EntryWatch,
        prices: Prices,
        orders_are_told: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._exchange = exchange
        self._rules = rules
        self._cancelling = cancelling
        self._driver = driver
        self._tracker = tracker
        self._switch = switch
        self._available = available
        self._entries = entries
        self._prices = prices
        self._exit_rules: ExitRules = settings.exit_rules
        self._body_of: BodyOf = exchange.body_of
        self._held = partial(
            protection_store.read_held,
            granularity_seconds=settings.granularity_seconds,
            refusal_stays=settings.adapter.refusal_stays,
            with_high=self._exit_rules.trailing is not None,
        )
        self._products = KeyedLocks()
        self._turn = asyncio.Lock()
        self._schedule = LookSchedule(
            kit,
            lambda product_ids: self.look(product_ids, ask=not orders_are_told()),
            self._products.__contains__,
            settings.reconcile_seconds,
            lambda: settings.protection_poll_seconds if self._waiting else None,
            lambda: orders_are_told() and prices.are_told(),
        )
        self._lingering = Lingering(kit, _TRACK_SECONDS, self.ask_soon)
        # How many looks are over and orders are written, and the number of each product's last one.
        self._looks, self._writes = 0, 0
        self._written: dict[ProductId, int] = {}
        # A position must not stand bare for longer than it has to.
        self._pauses = ProductPauses(kit.clock, self.ask_soon)
        self._later = LaterLooks(self.ask_soon)
        # Products of which something may stand; None before the first look at all of them.
        self._standing: set[ProductId] | None = None
        self._waiting = False
        self._unprotected: dict[ProductId, float] = {}
        self._gauge = kit.metrics.gauge(
            "executor.unprotected_position", "How long a position has been without protection, by product", "s"
        )
        driver.when_ended(self._heard)
        entries.when_bought(self.ask_soon)
        prices.when_reached, prices.when_lost = self.ask_soon, self._schedule.ask_all_soon

    def _heard(self, order: OrderRow) -> None:
        if order.bracket is not None and order.cancel_requested_at is not None:
            # What a further step waited for has happened: its pauses were for the exchange that did not end this one.
            self._pauses.over(order.product_id)
        if self._exit_rules.mode is not ProtectionMode.OFF and (order.filled_size > 0 or order.bracket is not None):
            self.ask_soon(order.product_id)

    def ask_soon(self, product_id: ProductId) -> None:
        """Something happened to a position: it is looked at without waiting for the schedule."""
        self._schedule.ask_soon(product_id)

    async def run(self) -> None:
        """Looks for ever. What fails in a look is tried again at the next one."""
        await self._schedule.run()

    async def look(self, product_ids: Sequence[ProductId] | None = None, *, ask: bool = True) -> list[Held]:
        """Positions as they are after what could be done for them; None: every one. `ask`: whether the exchange is asked for the
        orders that rest there. MeshError where rows cannot be read."""
        looks, began = self._looks, self._writes
        try:
            rows = await self._read(product_ids)
            standing = (one for row in rows for one in row.held.standing)
            if ask and await hear_of(self._kit, self._exchange, self._driver, standing):
                began, rows = self._writes, await self._read(product_ids)
            bids = await self._prices.bids(row.held.product_id for row in rows if self._needs_price(row.held))
            async with asyncio.TaskGroup() as group:
                steps = [group.create_task(self._protect(row, bids.get(row.held.product_id))) for row in rows]
            async with self._turn:
                # What is remembered of a position is never older than what another look remembered.
                if any(step.result() for step in steps) or looks != self._looks:
                    began, rows = self._writes, await self._read(product_ids)
                self._looks += 1
                self._watch_prices(rows, product_ids)
                await self._tell([row.held for row in rows], began, everything=product_ids is None)
        finally:
            self._schedule.look_ended()
        return [row.held for row in rows]

    def watches(self, held: Iterable[Held]) -> bool:
        """Whether a price or a time is watched here and not at the exchange."""
        standing = [one for each in held for one in each.standing]
        return any(one.plan.exit_time is not None for one in standing) or any(map(self._watches_price, held))

    @asynccontextmanager
    async def released(self, product_id: ProductId, by: UUID) -> AsyncIterator[bool]:
        """Inside, nothing protects the product and nothing begins to: the order `by` sells what was protected. Where that was
        made before, what protects stays. What rests to buy more of it is ended as well. False while a bracket may still trade."""
        entries = self._entries.of(product_id)
        known = self._standing is not None and product_id not in self._standing
        nothing = known and entries == []
        if nothing and self._exit_rules.mode is ProtectionMode.OFF:
            yield True
            return
        async with self._products.hold(product_id):
            yield nothing or await self._release(product_id, by, entries)
        self.ask_soon(product_id)

    async def _release(self, product_id: ProductId, by: UUID, entries: Sequence[UUID] | None) -> bool:
        async with self._kit.autocommit.connect() as connection:
            rows = await self._held(connection, product_ids=[product_id])
            standing = [one.order_id for row in rows for one in row.held.standing if one.trigger is None]
            if entries is None:
                resting = await store.entries_resting(connection)
                entries = [one.order_id for one in resting if one.product_id == product_id]
            standing += entries
            if not standing or await store.get_order(connection, by) is not None:
                return True
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                ended = await self._kit.critical(self._cancelling.withdraw(standing, "EXIT_DECIDED"))
        except (MeshError, TimeoutError) as error:
            # Whoever sells hears that it is not free yet, and asks again.
            self._kit.log.warning("protection_not_withdrawn", product_id=product_id, why=type(error).__name__)
            return False
        return all(one.over or one.order.side is Side.BUY for one in ended)

    # ---- one look ----------------------------------------------------------------------------------------------------

    async def _read(self, product_ids: Sequence[ProductId] | None) -> list[HeldRow]:
        async with self._kit.autocommit.connect() as connection:
            return await self._held(connection, product_ids=product_ids)

    def _watches_price(self, held: Held) -> bool:
        waits = any(one.state is OrderState.WAITING for one in held.standing)
        return waits or (self._exit_rules.trailing is not None and bool(held.standing))

    def _needs_price(self, held: Held) -> bool:
        return held.unprotected > 0 or self._watches_price(held)

    async def _protect(self, row: HeldRow, bid: Price | None) -> bool:
        """Every step there is for one position now; True if there was one."""
        product_id, steps = row.held.product_id, 0
        if not await self._has_step(row, bid):
            return False
        async with self._products.hold(product_id):
            try:
                seen: HeldRow | None = row
                while steps < _MOST_STEPS and self._may_go_on(product_id):
                    if not await self._step(product_id, bid, seen):
                        break
                    steps, seen = steps + 1, None
            except MeshError as error:
                # One position that cannot be protected now must not keep the others from it.
                self._kit.log.warning("position_not_protected", product_id=product_id, why=error.message)
                self._pauses.failed(product_id)
            except Exception as error:
                self._kit.log.error("position_not_protected", product_id=product_id, exc_info=error)
                self._pauses.failed(product_id)
        return steps > 0

    def _may_go_on(self, product_id: ProductId) -> bool:
        return product_id not in self._lingering and not self._pauses.holds_back(product_id)

    async def _has_step(self, row: HeldRow, bid: Price | None) -> bool:
        """By what the look has read already; True as well where nobody says what the exchange takes."""
        try:
            product = await self._rules.of(row.held.product_id, Side.SELL)
        except MeshError:
            return True
        return next_step(row.held, product, row.market(bid), self._exit_rules) is not None

    async def _step(self, product_id: ProductId, bid: Price | None, seen: HeldRow | None) -> bool:
        """`seen`: the position as it was just read. What is written is decided once more under the account lock, and what is
        withdrawn by a reading of now."""
        product = await self._rules.of(product_id, Side.SELL)
        step = next_step(seen.held, product, seen.market(bid), self._exit_rules) if seen is not None else None
        if seen is None or isinstance(step, Withdraw):
            rows = await self._read([product_id])
            step = next_step(rows[0].held, product, rows[0].market(bid), self._exit_rules) if rows else None
        if step is None or not self._switch.allows(Side.SELL):
            return False
        if isinstance(step, Withdraw):
            return await self._withdraw(product_id, step)
        again = isinstance(step, Protect) and step.replaces_waiting
        if again and self._later.waits(product_id):
            return False
        sells = isinstance(step, Protect) and step.trigger is not None
        free = await self._available.of(product_id) if sells or again else None
        if again:
            # Whatever comes of it, the next try is not at once.
            self._later.look_in(product_id, SHORTEST_SECONDS)
            if free is None:
                return False
        order = await self._write(product_id, product, bid, free)
        if order is None:
            if sells:
                # What it sells is not free yet, and no schedule tells when it is.
                self._pauses.failed(product_id)
            return False
        self._judge(await self._sent(order))
        return True

    async def _sent(self, order: OrderRow) -> OrderRow:
        """A bracket that rests is all that is wanted of it; what sells is tracked to its end, but not for long."""
        if order.state is OrderState.WAITING:
            return order
        if order.bracket is not None:
            return await self._lingering.within(order.product_id, self._rest(order)) or order
        return await self._tracker.track(order.order_id, longest_seconds=_TRACK_SECONDS) or order

    async def _rest(self, order: OrderRow) -> OrderRow:
        """A bracket after it was sent. What the exchange turns away unread makes room for what can wait here meanwhile."""
        sent = await self._driver.drive(order.order_id)
        turned_away = sent.state is OrderState.PENDING and not sent.facts.doubtful and self._switch.allows(Side.SELL)
        if not turned_away or not self._exit_rules.retries:
            self._tracker.look_after(sent)
            return sent
        ended = await self._cancelling.withdraw([order.order_id], "NOT_SENT")
        return ended[0].order if ended else sent

    async def _withdraw(self, product_id: ProductId, step: Withdraw) -> bool:
        work = self._cancelling.withdraw(step.order_ids, step.trigger or "PROTECTION_CHANGED")
        ended = await self._lingering.within(product_id, work)
        done = ended is not None and all(one.over for one in ended)
        if not done:
            self._pauses.failed(product_id)
        return done

    async def _write(
        self, product_id: ProductId, product: ExchangeProduct, bid: Price | None, free: BaseSize | None
    ) -> OrderRow | None:
        """What is to be done is decided once more under the account lock, where nobody else sells, and written down."""
        async with self._kit.engine.begin() as connection:
            trading = await store.lock_account(connection)
            rows = await self._held(connection, product_ids=[product_id])
            if not rows or not trading.allows(Side.SELL):
                return None
            held = rows[0].held
            step = next_step(held, product, replace(rows[0].market(bid), free=free), self._exit_rules)
            if isinstance(step, Send):
                return await protection_writing.trigger_order(connection, step.order_id, step.trigger)
            if not isinstance(step, Protect):
                return None
            written = await protection_writing.write(connection, held, step, self._settings.venue, self._body_of)
        self._writes += 1
        self._written[product_id] = self._writes
        if self._standing is not None:
            self._standing.add(product_id)
        return written

    # ---- what came of it ---------------------------------------------------------------------------------------------

    def _judge(self, order: OrderRow) -> None:
        """A bracket that was refused is followed by an order that waits here, at once; what else failed is tried again later."""
        told = {"product_id": order.product_id, "order_id": str(order.order_id), "order_type": order.order_type.value}
        if order.terminal and not order.filled_size:
            self._kit.log.error("protection_failed", **told, reasons=[one.code for one in order.reasons])
            if order.order_type is OrderType.MARKET:
                self._pauses.failed(order.product_id)
            return
        if not (order.filled_size > 0 or order.rests or order.state is OrderState.WAITING):
            # It may be on its way: whoever looks after orders that are not settled does.
            self._kit.log.warning("protection_not_settled", **told, state=order.state.value)
            return
        self._pauses.over(order.product_id)
        trigger = order.exit_trigger
        self._kit.log.info("position_protected" if trigger is None else "position_left", **told, trigger=trigger)

    def _watch_prices(self, rows: Sequence[HeldRow], product_ids: Sequence[ProductId] | None) -> None:
        looked_at = self._prices.watched if product_ids is None else product_ids
        watched = {row.held.product_id: row for row in rows if self._watches_price(row.held)}
        self._prices.watch(
            dict.fromkeys(looked_at)
            | {name: partial(price_acts, row.held, row.high, rules=self._exit_rules) for name, row in watched.items()}
        )

    async def _tell(self, held: Sequence[Held], began: int, *, everything: bool) -> None:
        """The metric, and what later looks need to know. `began`: how many orders were written before these were read."""
        now = self._kit.clock.monotonic()
        for one in held:
            open_to_loss = one.unprotected > 0 and await self._can_be_protected(one)
            since = self._unprotected.setdefault(one.product_id, now) if open_to_loss else now
            if not open_to_loss:
                self._unprotected.pop(one.product_id, None)
            self._gauge.set(now - since, {"product_id": one.product_id})
            pause = next_try(one, self._exit_rules)
            if pause:
                self._later.look_in(one.product_id, pause.total_seconds())
        self._waiting = self.watches(held) or (self._waiting and not everything)
        if not everything:
            return
        for product_id in self._unprotected.keys() - {one.product_id for one in held}:
            del self._unprotected[product_id]
            self._gauge.set(0.0, {"product_id": product_id})
        lately = {product_id for product_id, number in self._written.items() if number > began}
        self._standing = {one.product_id for one in held if one.standing} | lately

    async def _can_be_protected(self, held: Held) -> bool:
        """True as well where nobody says what the exchange takes."""
        try:
            return can_be_protected(held.unprotected, await self._rules.of(held.product_id, Side.SELL), held.close)
        except MeshError:
            return True
