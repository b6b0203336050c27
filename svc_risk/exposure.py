"""Equity, exposure, free cash, drawdown and portfolio heat of a snapshot.

Exposure is positions plus what open or UNKNOWN BUY orders may still buy plus HELD reservations; a SELL frees it only
when it has filled. Heat is the share of equity lost if everything hits its stop on the same day, with no credit for
diversification.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding, Snapshot
from tradekit.decimals import ONE, ZERO, divide
from tradekit.sizes import NO_PRICE, NO_QUOTE
from tradekit.units import BaseSize, Price, QuoteSize

_STATISTIC_SCALE = Decimal("1e-12")
# Two digits less than a column of amounts holds, so that the sum of many holdings still fits one.
_MOST_VALUE = QuoteSize(Decimal("1e18"))


def decimal_of(statistic: float) -> Decimal:
    """A float64 statistic on its way into a money formula: rounded to 12 decimals, in this one place."""
    return Decimal(statistic).quantize(_STATISTIC_SCALE)


def ratio_of(part: QuoteSize, whole: QuoteSize) -> float:
    """part / whole as a statistic. Of an account that is worth nothing, anything at all is everything: 1."""
    if whole <= 0:
        return 1.0 if part > 0 else 0.0
    return float(divide(part, whole))


def stop_distance(sigma_14d: float | None, p: Parameters) -> Decimal:
    """z·sigma over the stop horizon as a share of the price; a product without enough history counts at sigma_ref."""
    sigma = p.sigma_ref if sigma_14d is None else max(sigma_14d, p.sigma_floor)
    return decimal_of(min(p.stop_z * sigma * math.sqrt(p.stop_horizon_days / 365), 1.0))


def can_be_a_mark(price: Price, base_size: BaseSize) -> bool:
    """Whether a price can be reckoned with: a number above zero at which `base_size` is worth an amount of money."""
    return price.is_finite() and price > 0 and price * base_size <= _MOST_VALUE


def position_notional(holding: Holding) -> QuoteSize:
    """Value of what is held at its mark; 0 without a mark (an entry is refused then)."""
    return holding.base_size * (holding.mark or NO_PRICE)


def exposure_of(holding: Holding) -> QuoteSize:
    """Notional of position, open BUY orders and BUY reservations of one product."""
    return position_notional(holding) + holding.open_buy + holding.reserved_buy


def money_at_risk(holdings: Iterable[Holding], p: Parameters) -> QuoteSize:
    """What is lost if every holding hits its stop."""
    return sum((exposure_of(h) * stop_distance(h.sigma_14d, p) for h in holdings), NO_QUOTE)


@dataclass(frozen=True, slots=True)
class Account:
    """The account's figures; `drawdown` and `daily_loss` as shares, 0 on a gain."""

    equity: QuoteSize
    exposure: QuoteSize
    at_risk: QuoteSize
    free_cash: QuoteSize
    drawdown: Decimal
    daily_loss: Decimal

    @property
    def heat(self) -> float:
        """Portfolio heat."""
        return ratio_of(self.at_risk, self.equity)


def fall(from_value: QuoteSize | None, to_value: QuoteSize) -> Decimal:
    """Fall from a reference as a share of it, 0 without a reference or on a gain, at most 1."""
    if from_value is None or from_value <= 0 or to_value >= from_value:
        return ZERO
    return min(divide(from_value - to_value, from_value), ONE)


def pending_fees(holdings: Iterable[Holding], p: Parameters) -> QuoteSize:
    """Fees that open orders and BUY reservations will still cost."""
    turnover = NO_QUOTE
    for holding in holdings:
        turnover += holding.open_buy + holding.reserved_buy + holding.open_sell_base * (holding.mark or NO_PRICE)
    return turnover * p.taker_fee


def account_of(snapshot: Snapshot, p: Parameters) -> Account:
    """The account's figures before the request."""
    p = p.charging(snapshot.taker_fee)
    return account_figures(snapshot.cash, snapshot.holdings, snapshot.high_water_mark, snapshot.day_open, p)


def account_figures(
    cash: QuoteSize,
    holdings: Iterable[Holding],
    high_water_mark: QuoteSize | None,
    day_open: QuoteSize | None,
    p: Parameters,
) -> Account:
    """The figures of cash and holdings; equity is cash and positions at their marks, pending fees deducted."""
    known = tuple(holdings)
    fees = pending_fees(known, p)
    equity = cash + sum(map(position_notional, known), NO_QUOTE) - fees
    spoken_for = sum((holding.open_buy + holding.reserved_buy for holding in known), NO_QUOTE)
    return Account(
        equity=equity,
        exposure=sum(map(exposure_of, known), NO_QUOTE),
        at_risk=money_at_risk(known, p),
        free_cash=cash - spoken_for - fees,
        drawdown=fall(high_water_mark, equity),
        daily_loss=fall(day_open, equity),
    )
