"""Equity at a bar's close, before anything that was decided at that close.

The tables only know now. What the account was worth at an earlier close is found by taking back the fills decided at or
after it, so the mark of a bar is the same whether it is made before or after the bar's own trades.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import localcontext

from svc_risk.exposure import can_be_a_mark, exposure_of, fall, money_at_risk, position_notional, ratio_of
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding
from tradekit.decimals import CONTEXT, to_stored_scale
from tradekit.sizes import NO_BASE, NO_QUOTE
from tradekit.units import BaseSize, Price, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class CashChange:
    """What one decision time moved of the account's cash."""

    as_of: datetime
    amount: QuoteSize


@dataclass(frozen=True, slots=True)
class HoldingChange:
    """What one decision time moved of a product."""

    as_of: datetime
    product_id: ProductId
    amount: BaseSize


@dataclass(frozen=True, slots=True)
class Changes:
    """What fills moved, by the time of their decision."""

    cash: Sequence[CashChange]
    held: Sequence[HoldingChange]

    def since(self, as_of: datetime) -> "Changes":
        """Those decided at `as_of` or after it."""
        return Changes(
            [change for change in self.cash if change.as_of >= as_of],
            [change for change in self.held if change.as_of >= as_of],
        )


@dataclass(frozen=True, slots=True)
class EquityMark:
    """The account at one bar's close."""

    as_of: datetime
    equity: QuoteSize
    cash: QuoteSize
    exposure: QuoteSize
    heat: float
    drawdown: float
    high_water_mark: QuoteSize


def equity_mark(
    as_of: datetime,
    cash_now: QuoteSize,
    held_now: Mapping[ProductId, BaseSize],
    later: Changes,
    prices: Mapping[ProductId, Price],
    sigmas: Mapping[ProductId, float | None],
    high_water_mark: QuoteSize | None,
    p: Parameters,
) -> EquityMark | None:
    """The mark at `as_of`; of `later` only what was decided at or after it is taken back.

    None where something held has no price that can be reckoned with: a mark without it would look like a loss.
    """
    with localcontext(CONTEXT):
        undone = later.since(as_of)
        cash = cash_now - sum((change.amount for change in undone.cash), NO_QUOTE)
        products = sorted(set(held_now) | {change.product_id for change in undone.held})
        holdings = []
        for product in products:
            moved = sum((change.amount for change in undone.held if change.product_id == product), NO_BASE)
            held = max(held_now.get(product, NO_BASE) - moved, NO_BASE)
            price = prices.get(product)
            if held > 0 and (price is None or not can_be_a_mark(price, held)):
                return None
            holdings.append(Holding(product, held, price, sigmas.get(product)))
        equity = to_stored_scale(cash + sum(map(position_notional, holdings), NO_QUOTE))
        highest = equity if high_water_mark is None else max(high_water_mark, equity)
        return EquityMark(
            as_of=as_of,
            equity=equity,
            cash=to_stored_scale(cash),
            exposure=to_stored_scale(sum(map(exposure_of, holdings), NO_QUOTE)),
            heat=ratio_of(money_at_risk(holdings, p), equity),
            drawdown=float(fall(highest, equity)),
            high_water_mark=highest,
        )
