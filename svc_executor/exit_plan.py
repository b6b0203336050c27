"""How a position is left when nobody decides to leave it: its stop, its target, its time, and whether one of them has come.

Pure: a function of what was paid, of the settings, and of a price and a market time that are handed in.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from tradekit.decimals import CONTEXT, ONE
from tradekit.exit_plan import ExitPlan
from tradekit.products import ceil_to, floor_to
from tradekit.states import ExitTrigger, ProtectionMode
from tradekit.units import BaseSize, Price


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Settings. Ratios are shares of the price: a stop of 0.05 lies 5 % below it. `trailing` follows the highest price since
    the entry; None for both it and `time_limit` means that there is none. `retries`: whether a bracket that was refused is tried
    again once some time has passed by the machine's clock."""

    mode: ProtectionMode
    stop: Decimal
    target: Decimal
    trailing: Decimal | None
    time_limit: timedelta | None
    retries: bool = True


@dataclass(frozen=True, slots=True)
class MarketNow:
    """What is known of a product's market: the best bid, which is what a SELL gets, the highest price since the entry, the market
    time, and what the exchange has free of the coin. None: nobody knows."""

    bid: Price | None
    high: Price | None
    time: datetime | None
    free: BaseSize | None = None


def plan_of(price: Price, began: datetime, rules: ExitRules, price_increment: Price) -> ExitPlan:
    """The plan of what was bought at a price without one."""
    with localcontext(CONTEXT):
        plan = ExitPlan(
            Price(price * (ONE - rules.stop)),
            Price(price * (ONE + rules.target)),
            None if rules.time_limit is None else began + rules.time_limit,
        )
    return on_grid(plan, price_increment)


def on_grid(plan: ExitPlan, price_increment: Price) -> ExitPlan:
    """The plan as the exchange takes it. The stop goes down to the grid and the target up, so that neither is nearer than it was
    meant to be; a stop below the grid's first step is that step."""
    stop = max(floor_to(plan.stop_price, price_increment), price_increment)
    with localcontext(CONTEXT):
        target = max(ceil_to(plan.target_price, price_increment), stop + price_increment)
    return ExitPlan(stop, target, plan.exit_time)


def trigger_of(plan: ExitPlan, market: MarketNow, rules: ExitRules) -> ExitTrigger | None:
    """Why the position is left now, the worst first; None where it is kept."""
    if market.bid is not None:
        if market.bid <= plan.stop_price:
            return ExitTrigger.STOP
        if market.bid >= plan.target_price:
            return ExitTrigger.TARGET
    return own_trigger(plan, market, rules)


def own_trigger(plan: ExitPlan, market: MarketNow, rules: ExitRules) -> ExitTrigger | None:
    """Of what an exchange does not look after by itself while a bracket rests there."""
    if rules.trailing is not None and market.bid is not None and market.high is not None:
        with localcontext(CONTEXT):
            if market.bid <= market.high * (ONE - rules.trailing):
                return ExitTrigger.TRAILING_STOP
    if plan.exit_time is not None and market.time is not None and market.time >= plan.exit_time:
        return ExitTrigger.TIME_LIMIT
    return None
