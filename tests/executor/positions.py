"""Positions as the protector finds them, for the rules of its next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from exchange_client import ExchangeProduct
from svc_executor.exit_plan import ExitRules, MarketNow
from svc_executor.protection_step import (
    Entry,
    Held,
    Standing,
)
from tradekit.exit_plan import ExitPlan
from tradekit.states import OrderState, OrderType, ProtectionMode

NOW = datetime(2025, 6, 1, tzinfo=UTC)
D = Decimal
RULES = ExitRules(ProtectionMode.BRACKET, D("0.05"), D("0.1"), None, None)
ENTRY = Entry(UUID(int=7), D(100), NOW)
PLAN = ExitPlan(D("95"), D("110"))
QUIET = MarketNow(D(100), D(100), NOW)


def product(step: str = "0.001", tick: str = "0.01") -> ExchangeProduct:
    most = D(10**9)
    rules = (D(step), D("0.01"), D(tick), D(step), most, D(1), most)
    return ExchangeProduct("LTC-USD", "LTC", *rules, "online", tradable=True, brackets=True)


def held(size: str = "1", **changes: object) -> Held:
    made = Held(
        product_id="LTC-USD",
        size=D(size),
        selling=D(0),
        standing=(),
        entry=ENTRY,
        plan=None,
        close=D(100),
        market_time=NOW,
    )
    return replace(made, **changes)


def standing(left: str = "1", **changes: object) -> Standing:
    made = Standing(uuid4(), OrderState.OPEN, OrderType.BRACKET, D(left), PLAN, cancelling=False, trigger=None)
    return replace(made, **changes)
