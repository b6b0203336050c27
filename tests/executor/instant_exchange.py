"""An exchange inside the test: it knows every product and fills every order at once at one price. And an executor's rooms
around it, without a service."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from exchange_client import Accepted, Account, ExchangeFill, ExchangeOrder, ExchangeProduct, ExchangeUnavailable
from exchange_client.coinbase.order_body import body_of, same_terms
from meshkit.kit import Kit
from svc_executor.availability import Availability
from svc_executor.driver import OrderDriver
from svc_executor.fees import FeeKeeper
from svc_executor.intake import ExchangeFacts, Intake
from svc_executor.locks import ReadersWriterLock
from svc_executor.order_tracker import OrderTracker
from svc_executor.product_rules import ProductRules
from svc_executor.reconciler import Reconciler
from svc_executor.store import OrderRow
from svc_executor.trading_switch import TradingSwitch
from svc_executor.wire import Execute
from tests.executor.exchange_fills import AT
from tests.executor.issuer import Issuer, NothingProtected, settings_of
from tradekit.decimals import CONTEXT

PRICE = Decimal("45678.91")
STEP = Decimal("0.00000001")


class InstantExchange:
    """What of an exchange an order's way needs."""

    def __init__(self) -> None:
        self.orders: dict[str, ExchangeOrder] = {}
        self.sent: list[str] = []
        # What its list does not show yet, and how often it was asked for orders: by list and one at a time.
        self.unlisted: set[str] = set()
        self.listed = self.looked_at = 0
        # Of every coin; None: it does not say.
        self.free: Decimal | None = Decimal(1000)

    body_of = staticmethod(body_of)
    same_terms = staticmethod(same_terms)

    def wall_seconds(self) -> float:
        return 0.0

    async def market_time(self) -> Any:
        return AT

    async def products(self, wanted: list[str]) -> list[ExchangeProduct]:
        cent, most = Decimal("0.01"), Decimal(10**9)
        return [
            ExchangeProduct(name, name.split("-")[0], STEP, cent, cent, STEP, most, cent, most, "online", tradable=True)
            for name in wanted
        ]

    async def accounts(self) -> tuple[Account, ...]:
        if self.free is None:
            raise ExchangeUnavailable("accounts", "down")
        return tuple(Account(f"C{number}", self.free, Decimal(0)) for number in range(20))

    async def create_order(self, body: bytes, permit: Any, born: float) -> Accepted:
        order: dict[str, Any] = json.loads(body)
        client_id, terms = order["client_order_id"], order["order_configuration"]["market_market_ioc"]
        self.sent.append(client_id)
        with localcontext(CONTEXT):
            size = Decimal(terms["base_size"]) if "base_size" in terms else Decimal(terms["quote_size"]) / 2 / PRICE
            size = size.quantize(STEP)
            self.orders[f"x-{client_id}"] = ExchangeOrder(
                order_id=f"x-{client_id}",
                client_order_id=client_id,
                product_id=order["product_id"],
                side=order["side"],
                configuration=order["order_configuration"],
                status="FILLED",
                filled_size=size,
                filled_value=size * PRICE,
                total_fees=Decimal(0),
                settled=True,
                created_time=AT,
                reject_reason="",
                message="",
            )
        return Accepted(f"x-{client_id}", client_id)

    async def order(self, order_id: str) -> ExchangeOrder | None:
        self.looked_at += 1
        return self.orders.get(order_id)

    async def orders_by_id(self, order_ids: list[str]) -> list[ExchangeOrder]:
        self.listed += 1
        return [self.orders[one] for one in order_ids if one in self.orders and one not in self.unlisted]

    async def fills(self, order_ids: list[str]) -> list[ExchangeFill]:
        """Two of each order, of a third and of the rest."""
        found = []
        for name in order_ids:
            order = self.orders[name]
            third = (order.filled_size / 3).quantize(STEP)
            for number, size in enumerate((third, order.filled_size - third)):
                with localcontext(CONTEXT):
                    fee = size * PRICE * Decimal("0.0123")
                found.append(
                    ExchangeFill(
                        entry_id=f"{name}-{number}",
                        trade_id=f"t{number}",
                        order_id=name,
                        product_id=order.product_id,
                        side=order.side,
                        trade_type="FILL",
                        price=PRICE,
                        size=size,
                        size_in_quote=False,
                        commission=fee,
                        liquidity="TAKER",
                        trade_time=AT,
                    )
                )
        return found


@dataclass
class Rooms:
    """Intake, driver and tracker of one executor."""

    exchange: InstantExchange
    driver: OrderDriver
    tracker: OrderTracker
    intake: Intake

    async def execute(self, request: Execute) -> OrderRow:
        placed = await self.intake.order_for(request)
        order = await self.tracker.track(placed.order_id, placed.sending)
        assert order is not None
        return order


@contextlib.asynccontextmanager
async def rooms(environ: dict[str, str], issuer: Issuer) -> AsyncIterator[Rooms]:
    """The rooms that carry out a recommendation, around an instant exchange; nothing else runs."""
    settings = settings_of({**environ, "PRODUCTS": ",".join(f"C{number}-USD" for number in range(20))})
    kit = Kit(settings)
    exchange: Any = InstantExchange()
    lock, switch = ReadersWriterLock(), TradingSwitch(kit, None)
    driver = OrderDriver(kit.engine, kit.dedicated(), exchange, lock, switch, settings.absence, kit.log)
    fees = FeeKeeper(kit.engine, exchange, None, kit.clock, kit.log)
    tracker = OrderTracker(kit, driver, Reconciler(settings, kit, exchange, driver, lock, fees))
    facts = ExchangeFacts(ProductRules(exchange, kit.log), Availability(exchange, kit.log), driver.clock, fees)
    intake = Intake(
        settings,
        kit.dedicated(),
        issuer.key.public_key(),
        exchange,
        facts,
        switch,
        driver,
        tracker.begin,
        NothingProtected(),
    )
    try:
        yield Rooms(exchange, driver, tracker, intake)
    finally:
        await kit.finish_critical(10)
        await kit.close()


# What an order's way says to the database.
KINDS = {f"{name}(": name for name in ("intent_facts", "write_intents", "lock_orders", "record_orders", "count_send")}
