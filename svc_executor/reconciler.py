"""Keeps the books true: opens them once, settles what is open or unknown, and compares them with the exchange.

At start, after every doubt, and on a schedule. A difference is never repaired here: it is said, and closes entries.
"""

import asyncio
from decimal import Decimal, localcontext
from typing import Any

from exchange_client import Account, ExchangeClient
from meshkit.errors import MeshError, Unavailable
from meshkit.kit import Kit
from svc_executor import books_store, store
from svc_executor.books import Holding, Position, opening_entries
from svc_executor.books_store import Balance, Comparison
from svc_executor.driver import OrderDriver
from svc_executor.gate import QuietGate
from svc_executor.settings import ExecutorSettings
from svc_executor.store import OrderRow
from tradekit.decimals import CONTEXT, ZERO, to_stored_scale
from tradekit.products import base_currency
from tradekit.states import OrderState

_PATIENCE_SECONDS = 2.0
_PASS_SECONDS = 50.0
_SOON_SECONDS = 0.5
# A result older than this many pauses no longer speaks for the present.
_FRESH_PAUSES = 3


class Reconciler:
    """One pass at a time, whoever asks for it."""

    def __init__(
        self,
        settings: ExecutorSettings,
        kit: Kit[ExecutorSettings],
        exchange: ExchangeClient,
        driver: OrderDriver,
        gate: QuietGate,
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._exchange = exchange
        self._driver = driver
        self._gate = gate
        self._turn = asyncio.Lock()
        self._soon = asyncio.Event()
        self._failing: str | None = "the first reconciliation is not done"
        self._opened = False

    def ask_soon(self) -> None:
        """A doubt arose: the next pass does not wait for the schedule."""
        self._soon.set()

    async def run(self) -> None:
        """Passes for ever; an outage, or a key the exchange refuses, closes entries until a pass gets through."""
        while True:
            try:
                await self.reconcile()
            except MeshError as error:
                self._kit.log.warning("reconciliation_failed", reason=error.reason, why=error.message)
            pause = self._settings.reconcile_seconds
            try:
                async with asyncio.timeout(pause):
                    await self._soon.wait()
                self._soon.clear()
                await asyncio.sleep(min(_SOON_SECONDS, pause))
            except TimeoutError:
                pass

    async def reconcile(self) -> Comparison:
        """One pass: opening, orders, balances. Raises Unavailable if exchange or database do not answer."""
        try:
            async with asyncio.timeout(_PASS_SECONDS), self._turn:
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
                "books_differ",
                orders_unknown=comparison.orders_unknown,
                differences={b.currency: str(b.difference) for b in comparison.balances if b.difference},
            )
        return comparison

    async def check_entries(self) -> None:
        """Raises unless the newest comparison is clean and fresh and the last pass got through."""
        if self._failing is not None:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", self._failing)
        async with self._kit.engine.connect() as connection:
            newest = await books_store.newest_comparison(connection)
        if newest is None or not newest.clean:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the books differ from the exchange, or an order is unknown")
        if newest.age_seconds > self._settings.reconcile_seconds * _FRESH_PAUSES + _PATIENCE_SECONDS:
            raise Unavailable("STALE_DATA", f"the newest reconciliation is {newest.age_seconds:.0f} s old")

    async def _pass(self) -> Comparison:
        await self.open_books()
        before = await self._open_orders()
        for order in before:
            await self._settle(order)
        return await self._compare(before)

    async def _settle(self, order: OrderRow) -> None:
        """One order that cannot be worked on must not keep the others from being settled, nor exits from being sent."""
        try:
            await self._driver.drive(order.order_id)
        except Unavailable:
            raise
        except Exception as error:
            self._kit.log.error("order_not_settled", order_id=str(order.order_id), exc_info=error)

    async def _open_orders(self) -> list[OrderRow]:
        async with self._kit.engine.connect() as connection:
            return await store.open_orders(connection)

    # ---- opening -----------------------------------------------------------------------------------------------------

    async def open_books(self) -> None:
        """At the first start, what the exchange holds becomes the opening; coins at their newest close, else 0."""
        if self._opened:
            return
        async with self._kit.engine.connect() as connection:
            self._opened = await books_store.is_open(connection)
        if not self._opened:
            await self._open_from_exchange()

    async def _open_from_exchange(self) -> None:
        market_time = await self._exchange.market_time()
        totals = _totals(await self._exchange.accounts())
        async with self._kit.engine.begin() as connection:
            marks = await books_store.marks(connection, self._settings.products, self._settings.granularity_seconds)
            held: dict[str, Position] = {}
            costs: dict[str, Decimal] = {}
            for product_id in self._settings.products:
                amount = totals.get(base_currency(product_id), ZERO)
                if amount > 0:
                    with localcontext(CONTEXT):
                        cost = to_stored_scale(amount * marks.get(product_id, ZERO))
                    held[product_id] = Position(base_size=amount, cost=cost)
                    costs[base_currency(product_id)] = cost
            holdings = [Holding(name, amount, costs.get(name, ZERO)) for name, amount in sorted(totals.items())]
            entries = opening_entries(holdings, self._settings.account_currency)
            if await books_store.open_books(connection, entries, held, market_time):
                self._kit.log.info("books_opened", balances={h.currency: str(h.amount) for h in holdings if h.amount})
        self._opened = True

    # ---- comparing ---------------------------------------------------------------------------------------------------

    async def _compare(self, before: list[OrderRow]) -> Comparison:
        try:
            async with self._gate.quiet(_PATIENCE_SECONDS):
                totals = _totals(await self._exchange.accounts())
                return await self._store(before, totals)
        except TimeoutError:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "orders are being sent without a pause; asked again") from None

    async def _store(self, before: list[OrderRow], totals: dict[str, Decimal]) -> Comparison:
        async with self._kit.engine.begin() as connection:
            ledger = await books_store.ledger_balances(connection)
            still = await store.open_orders(connection)
            left = {order.order_id for order in still}
            comparison = Comparison(
                orders_checked=len(before),
                orders_settled=sum(order.order_id not in left for order in before),
                orders_unknown=sum(order.state is OrderState.UNKNOWN for order in still),
                balances=_balances(ledger, totals),
                at=await store.machine_time(connection),
            )
            await books_store.store_comparison(connection, comparison)
        return comparison


def _totals(accounts: tuple[Account, ...]) -> dict[str, Decimal]:
    """Available plus hold by currency, to the 18 decimals that the ledger holds."""
    totals: dict[str, Decimal] = {}
    with localcontext(CONTEXT):
        for account in accounts:
            totals[account.currency] = totals.get(account.currency, ZERO) + account.total
    return {currency: to_stored_scale(total) for currency, total in totals.items()}


def _balances(ledger: dict[str, Decimal], totals: dict[str, Decimal]) -> tuple[Balance, ...]:
    """Every currency that either side has anything of."""
    pairs: list[tuple[str, Any, Any]] = [
        (currency, ledger.get(currency, ZERO), totals.get(currency, ZERO)) for currency in sorted({*ledger, *totals})
    ]
    return tuple(Balance(currency, ours, theirs) for currency, ours, theirs in pairs if ours or theirs)
