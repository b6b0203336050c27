"""Keeps the ledger true: opens it once, settles what is open or unknown, and compares it with the exchange.

At start, after every doubt, and on a schedule. A difference is never repaired here: it is reported, and closes entries.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal, localcontext

from exchange_client import Account, Exchange, ExchangeRefused
from meshkit.backoff import Backoff
from meshkit.errors import MeshError, Unavailable
from meshkit.kit import Kit
from schema.clocks import read_clocks
from svc_executor import account_store, foreign_store, ledger_store, store
from svc_executor.account_store import Balance, Comparison
from svc_executor.driver import OrderDriver
from svc_executor.fees import FeeKeeper
from svc_executor.foreign_watch import ForeignWatch
from svc_executor.ledger import opening_entries
from svc_executor.ledger_owner import LedgerOwner
from svc_executor.ledger_store import Parts
from svc_executor.locks import ReadersWriterLock
from svc_executor.resting import with_news
from svc_executor.settings import ExecutorSettings
from svc_executor.store import OrderRow
from tradekit.decimals import CONTEXT, ZERO, to_stored_scale
from tradekit.states import OrderState, Side

_PATIENCE_SECONDS = 2.0
# Comparisons tried beside the work before it is held back, and how long it is held back for the exchange's answer.
_TRIES, _HOLD_SECONDS = 2, 1.0
_PASS_SECONDS = 50.0
_AT_ONCE = 4
_SOON_SECONDS = 0.5
# What rests is asked for within a part of a pass; and how soon an exit that did not leave is tried again.
_NEWS_SECONDS = 10.0
_UNSENT_LOW_SECONDS, _UNSENT_HIGH_SECONDS = 1.0, 5.0
# A result older than this many pauses no longer speaks for the present.
_FRESH_PAUSES = 3


class Reconciler:
    """One pass at a time, whoever asks for it."""

    def __init__(
        self,
        settings: ExecutorSettings,
        kit: Kit[ExecutorSettings],
        exchange: Exchange,
        driver: OrderDriver,
        lock: ReadersWriterLock,
        fees: FeeKeeper,
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._exchange = exchange
        self._driver = driver
        self._lock = lock
        self._foreign = ForeignWatch(kit.engine, exchange, kit.clock, kit.log)
        self._fees = fees
        self.owner = LedgerOwner(kit.engine, settings.venue, settings.portfolio)
        self._turn = asyncio.Lock()
        self._soon = asyncio.Event()
        # Whether the last pass left an exit that the exchange has not taken: nobody else sends it.
        self._unsent = False
        self._unsent_pace = Backoff(_UNSENT_LOW_SECONDS, _UNSENT_HIGH_SECONDS, random.Random())
        self._failing: str | None = "the first reconciliation is not done"
        # Of the newest comparison that is stored, and when it was.
        self._clean, self._compared_at = False, 0.0
        self._opened = False

    def ask_soon(self) -> None:
        """A doubt arose: the next pass does not wait for the schedule."""
        self._soon.set()

    def ask_to_send(self) -> None:
        """An exit did not leave. One that no pass could send either has its own growing pause already."""
        if not self._unsent:
            self._soon.set()

    async def run(self) -> None:
        """Passes for ever; an outage, or a key the exchange refuses, closes entries until a pass gets through."""
        while True:
            try:
                await self.reconcile()
            except MeshError as error:
                self._kit.log.warning("reconciliation_failed", reason=error.reason, why=error.message)
            except Exception as error:
                # Something nobody thought of, in an answer perhaps that comes again and again: it closes entries, and must not
                # take the exits down with this process.
                self._kit.log.error("reconciliation_failed", exc_info=error)
            pause = self._pause()
            try:
                async with asyncio.timeout(pause):
                    await self._soon.wait()
                self._soon.clear()
                await asyncio.sleep(min(_SOON_SECONDS, pause))
            except TimeoutError:
                pass

    def _pause(self) -> float:
        """The schedule's, or a shorter one while an exit has not left."""
        if self._unsent:
            return min(self._settings.reconcile_seconds, self._unsent_pace.next_seconds())
        self._unsent_pace.reset()
        return self._settings.reconcile_seconds

    async def reconcile(self) -> Comparison:
        """One pass: opening, orders, balances. Raises Unavailable if exchange or database do not answer."""
        try:
            # The wait for another's pass is not a part of this one.
            async with self._turn, asyncio.timeout(_PASS_SECONDS):
                comparison = await self._pass()
        except TimeoutError:
            self._failing = "the reconciliation took too long"
            raise Unavailable("DEPENDENCY_UNAVAILABLE", self._failing) from None
        except Exception as error:
            self._failing = f"{type(error).__name__}: {error}"
            raise
        self._failing = None
        if not comparison.clean:
            self._kit.log.error(
                "ledger_differs",
                orders_unknown=comparison.orders_unknown,
                differences={b.currency: str(b.difference) for b in comparison.balances if not b.agrees},
                foreign_orders=[one.exchange_order_id for one in comparison.foreign],
            )
        return comparison

    async def check_entries(self) -> None:
        """Raises unless the newest comparison is clean and fresh and the last pass got through."""
        if self._failing is not None:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", self._failing)
        if not self._clean:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the ledger differs from the exchange, or an order is unknown")
        age = self._kit.clock.monotonic() - self._compared_at
        if age > self._settings.reconcile_seconds * _FRESH_PAUSES + _PATIENCE_SECONDS:
            raise Unavailable("STALE_DATA", f"the newest reconciliation is {age:.0f} s old")

    async def _pass(self) -> Comparison:
        await self.open_ledger()
        self._unsent = False
        before = await self._open_orders()
        not_listed = await self._settle_open(before)
        await self._driver.adopt_late()
        # Where the balances differ, somebody else may have traded, and the exchange may have told it late.
        await self._foreign.check(far_back=not self._clean)
        await self._fees.refresh_if_due()
        if not_listed is not None:
            # What rests may have filled unseen: a ledger that is only late would look wrong.
            raise not_listed
        return await self._compare(before)

    async def _settle_open(self, orders: Sequence[OrderRow]) -> Exception | None:
        """All but what waits here and what rests as it did. Of what rests the exchange is asked last, in one request: one that
        fails, which is given back, keeps nothing else from being sent. Unavailable where an order met an outage."""
        outage = await self._settle_all(one for one in orders if not one.rests and not _waits(one))
        resting = [one for one in orders if one.rests]
        not_listed: Exception | None = None
        try:
            async with asyncio.timeout(_NEWS_SECONDS):
                news = await with_news(self._exchange, resting)
        except TimeoutError:
            not_listed = Unavailable(
                "DEPENDENCY_UNAVAILABLE", "the exchange does not list the orders that rest in time"
            )
        except Exception as error:
            not_listed = error
        else:
            outage = await self._settle_all(one for one in resting if one.order_id in news) or outage
        if outage is not None:
            raise outage
        return not_listed

    async def _settle_all(self, orders: Iterable[OrderRow]) -> Unavailable | None:
        """Exits first, several at a time: one whose search takes long must not keep another from being sent. An outage if any."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(order: OrderRow) -> Unavailable | None:
            async with turns:
                return await self._settle(order)

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one(order)) for order in sorted(orders, key=lambda each: each.side is not Side.SELL)
            ]
        return next(filter(None, (task.result() for task in tasks)), None)

    async def _settle(self, order: OrderRow) -> Unavailable | None:
        """One order that cannot be worked on must not keep the others from being settled; an outage is given back."""
        try:
            after = await self._driver.drive(order.order_id)
            self._unsent |= after.side is Side.SELL and after.state is OrderState.PENDING
        except Unavailable as outage:
            return outage
        except Exception as error:
            self._kit.log.error("order_not_settled", order_id=str(order.order_id), exc_info=error)
        return None

    async def _open_orders(self) -> list[OrderRow]:
        async with self._kit.autocommit.connect() as connection:
            return await store.open_orders(connection)

    # ---- opening -----------------------------------------------------------------------------------------------------

    async def open_ledger(self) -> None:
        """At the first start, the account currency's cash becomes the opening; what else is there is not adopted."""
        if self._opened:
            return
        await self.owner.require()
        async with self._kit.autocommit.connect() as connection:
            self._opened = await account_store.is_open(connection)
        if not self._opened:
            await self._open_from_exchange()

    async def _open_from_exchange(self) -> None:
        # Fills before balances: one in between is in the balances, and at most told once more as somebody else's.
        market_time = await self._exchange.market_time()
        before = await self._fills_before(market_time)
        totals = _totals(await self._exchange.accounts())
        currency = self._settings.account_currency
        async with self._kit.engine.begin() as connection:
            if await account_store.open_ledger(connection, opening_entries(totals, currency), market_time, before):
                await self.owner.claim(connection)
                cash, others = totals.get(currency, ZERO), {name: str(a) for name, a in totals.items() if a}
                others.pop(currency, None)
                self._kit.log.info("ledger_opened", cash=str(cash), currency=currency, unadopted=others)
        self._opened = True

    async def _fills_before(self, market_time: datetime) -> list[str]:
        try:
            return [fill.entry_id async for page in self._exchange.fill_pages(market_time) for fill in page]
        except ExchangeRefused as error:
            self._kit.log.warning("fills_not_listed", why=error.message)
            return []

    # ---- comparing ---------------------------------------------------------------------------------------------------

    async def _compare(self, before: list[OrderRow]) -> Comparison:
        """Compares at a moment without work. The exchange is asked while everybody may go on; only where work never pauses
        is it held back, and not for long: an exchange that is slow to tell its wallets, or a database that is slow, must not
        delay an exit."""
        comparison = await self._beside_work(before) or await self._without_work(before)
        async with self._kit.engine.begin() as connection:
            await account_store.store_comparison(connection, comparison)
            await foreign_store.mark_booked(connection, _booked(comparison))
        self._clean, self._compared_at = comparison.clean, self._kit.clock.monotonic()
        return comparison

    async def _beside_work(self, before: list[OrderRow]) -> Comparison | None:
        """None if somebody worked meanwhile, or work does not pause by itself."""
        for _ in range(_TRIES):
            try:
                moment = await self._lock.free(_PATIENCE_SECONDS)
            except TimeoutError:
                return None
            totals = _totals(await self._exchange.accounts())
            async with self._lock.alone_if_free_since(moment) as still:
                if still:
                    async with _held_back():
                        return await self._compare_with(totals, before)
        return None

    async def _without_work(self, before: list[OrderRow]) -> Comparison:
        try:
            async with self._lock.alone(_PATIENCE_SECONDS), _held_back():
                totals = _totals(await self._exchange.accounts())
                return await self._compare_with(totals, before)
        except TimeoutError:
            why = f"an order was being worked on for longer than {_PATIENCE_SECONDS:.0f} s; compared again later"
            raise Unavailable("DEPENDENCY_UNAVAILABLE", why) from None

    async def _compare_with(self, totals: dict[str, Decimal], before: list[OrderRow]) -> Comparison:
        """Reads the ledger as it is now and compares it."""
        async with self._kit.autocommit.connect() as connection:
            ledger = await ledger_store.balances(connection)
            foreign = await foreign_store.live_foreign_orders(connection)
            still = await store.open_orders(connection)
            at = (await read_clocks(connection)).machine
        left = {order.order_id for order in still}
        return Comparison(
            orders_checked=len(before),
            orders_settled=sum(order.order_id not in left for order in before),
            orders_unknown=sum(order.state is OrderState.UNKNOWN for order in still),
            balances=_balances(ledger.parts, totals, self._settings.ledger_tolerance),
            at=at,
            booking_sequence=ledger.booking_sequence,
            foreign=tuple(foreign),
        )


def _waits(order: OrderRow) -> bool:
    """Whether it waits here and is to go on waiting."""
    return order.state is OrderState.WAITING and not order.cancel_requested_at


@asynccontextmanager
async def _held_back() -> AsyncIterator[None]:
    """A bound on what orders wait for. Raises Unavailable."""
    try:
        async with asyncio.timeout(_HOLD_SECONDS):
            yield
    except TimeoutError:
        why = f"wallets and ledger took longer than {_HOLD_SECONDS:.0f} s, and orders waited for them; compared again later"
        raise Unavailable("DEPENDENCY_UNAVAILABLE", why) from None


def _totals(accounts: tuple[Account, ...]) -> dict[str, Decimal]:
    """Available plus hold by currency, to the 18 decimals that the ledger holds."""
    totals: dict[str, Decimal] = {}
    with localcontext(CONTEXT):
        for account in accounts:
            totals[account.currency] = totals.get(account.currency, ZERO) + account.total
    return {currency: to_stored_scale(total) for currency, total in totals.items()}


def _balances(
    ledger: Mapping[str, Parts], totals: Mapping[str, Decimal], tolerance: Mapping[str, Decimal]
) -> tuple[Balance, ...]:
    """Every currency that either side has anything of."""
    found = []
    with localcontext(CONTEXT):
        for currency in sorted({*ledger, *totals}):
            parts, theirs = ledger.get(currency, Parts()), totals.get(currency, ZERO)
            if parts.own or parts.unadopted or theirs:
                allowed = tolerance.get(currency, ZERO)
                found.append(Balance(currency, parts.own + parts.unadopted, theirs, parts.unadopted, allowed))
    return tuple(found)


def _booked(comparison: Comparison) -> list[str]:
    """Foreign orders whose fills are in the ledger by now: it agrees with the exchange in both currencies they trade."""
    differing = {balance.currency for balance in comparison.balances if not balance.agrees}
    return [one.exchange_order_id for one in comparison.foreign if one.unbooked and not differing & set(one.currencies)]
