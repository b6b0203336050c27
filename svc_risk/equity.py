"""Equity at a bar's close, before anything that was decided at that close.

The books only know now. What the account was worth at an earlier close is found by taking back the fills decided at or
after it, so the mark of a bar is the same whether it is made before or after the bar's own trades.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from svc_risk.exposure import can_be_a_mark, exposure_of, fall, money_at_risk, position_notional, ratio_of
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding
from tradekit.decimals import CONTEXT, ZERO, to_stored_scale


@dataclass(frozen=True, slots=True)
class Change:
    """What one decision time moved: cash in the account's currency, or base units of a product."""

    as_of: datetime
    product_id: str | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class EquityMark:
    """The account at one bar's close."""

    as_of: datetime
    equity: Decimal
    cash: Decimal
    exposure: Decimal
    heat: float
    drawdown: float
    high_water_mark: Decimal


def equity_mark(
    as_of: datetime,
    cash_now: Decimal,
    held_now: Mapping[str, Decimal],
    later: Sequence[Change],
    prices: Mapping[str, Decimal],
    sigmas: Mapping[str, float | None],
    high_water_mark: Decimal | None,
    p: Parameters,
) -> EquityMark | None:
    """The mark at `as_of`; of `later` only what was decided at or after it is taken back.

    None where something held has no price that can be reckoned with: a mark without it would look like a loss.
    """
    with localcontext(CONTEXT):
        undone = [change for change in later if change.as_of >= as_of]
        cash = cash_now - sum((change.amount for change in undone if change.product_id is None), ZERO)
        products = sorted(set(held_now) | {change.product_id for change in undone if change.product_id})
        holdings = []
        for product in products:
            moved = sum((change.amount for change in undone if change.product_id == product), ZERO)
            held = max(held_now.get(product, ZERO) - moved, ZERO)
            price = prices.get(product)
            if held > 0 and (price is None or not can_be_a_mark(price, held)):
                return None
            holdings.append(Holding(product, held, price, sigmas.get(product)))
        equity = to_stored_scale(cash + sum(map(position_notional, holdings), ZERO))
        highest = equity if high_water_mark is None else max(high_water_mark, equity)
        return EquityMark(
            as_of=as_of,
            equity=equity,
            cash=to_stored_scale(cash),
            exposure=to_stored_scale(sum(map(exposure_of, holdings), ZERO)),
            heat=ratio_of(money_at_risk(holdings, p), equity),
            drawdown=float(fall(highest, equity)),
            high_water_mark=highest,
        )
