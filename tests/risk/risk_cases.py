"""Cases for the pure core: the account of the worked example, and ways to change one thing of it."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from svc_risk.snapshot import Holding, MarketView, Request, Snapshot
from tradekit.bars import utc
from tradekit.products import Product
from tradekit.states import Side, TradingState

D = Decimal
AS_OF: datetime = utc(1_750_000_000 // 3600 * 3600)
HOUR = timedelta(hours=1)


def product(product_id: str = "ETH-USD", **changes: Any) -> Product:
    made = Product(product_id, D("0.00000001"), D("0.01"), D("0.01"), D("0.00001"), D("1"), True, "online")
    return replace(made, **changes)


def market(**changes: Any) -> MarketView:
    made = MarketView(D("2500"), AS_OF, 0.60, 0.60, 336, D("10000000"))
    return replace(made, **changes)


def btc(**changes: Any) -> Holding:
    """380 in BTC at a volatility of 0.45."""
    return replace(Holding("BTC-USD", D("0.0038"), D("100000"), 0.45), **changes)


def snapshot(**changes: Any) -> Snapshot:
    """Equity 2,000 of which 380 in BTC, 2 % under its high: the worked example."""
    made = Snapshot(
        version=1,
        trading_state=TradingState.ACTIVE,
        product=product(),
        cash=D("1620"),
        holdings=(btc(),),
        market=market(),
        stale_seconds=7200,
        high_water_mark=D("2000") / D("0.98"),
        day_open=D("2000"),
        locks=(),
        past_orders=(),
        last_entry=None,
        last_losing_exit=None,
        expired=False,
        account_fresh=True,
    )
    return replace(made, **changes)


def buy(size: str = "100", **changes: Any) -> Request:
    made = Request(UUID(int=7), "ETH-USD", Side.BUY, D(size), D("2500"), AS_OF, 0.81)
    return replace(made, **changes)


def sell(size: str = "0.02", **changes: Any) -> Request:
    return replace(buy(), side=Side.SELL, size=D(size), **changes)


def eth(base: str = "0.04", **changes: Any) -> Holding:
    """100 in ETH."""
    return replace(Holding("ETH-USD", D(base), D("2500"), 0.60), **changes)
