"""Exposure by product as the tables have it now, the market at a time, and the holdings that the two make.

Only now is in the tables; what a batch reserves on its way is put on top before the holdings are made of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import localcontext

from svc_risk.exposure import can_be_a_mark
from svc_risk.snapshot import Holding
from svc_risk.volatility import Volatility
from tradekit.decimals import CONTEXT
from tradekit.exits import is_dust
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

_NOTHING: Mapping[ProductId, QuoteSize] = {}


@dataclass(frozen=True, slots=True)
class Mark:
    """Newest close of a product and the time it was true."""

    price: Price
    time: datetime


@dataclass(frozen=True, slots=True)
class Exposed:
    """A product and what of it is exposure now; without any it is here because somebody asked for it.

    The exchange's rules are None for a product that it does not list.
    """

    product_id: ProductId
    is_exposed: bool
    base_size: BaseSize
    open_buy: QuoteSize
    open_sell: BaseSize
    reserved_buy: QuoteSize
    order_unknown: bool
    base_increment: BaseSize | None
    base_min_size: BaseSize | None
    quote_min_size: QuoteSize | None

    def with_reserved(self, amount: QuoteSize) -> "Exposed":
        """With a BUY reservation of that amount on top."""
        return replace(self, is_exposed=True, reserved_buy=self.reserved_buy + amount)


@dataclass(frozen=True, slots=True)
class Market:
    """Newest closes and volatilities of a market time."""

    marks: Mapping[ProductId, Mark]
    volatility: Mapping[ProductId, Volatility]


@dataclass(frozen=True, slots=True)
class AccountState:
    """Exposure now, and the market at each of the market times that were asked for."""

    exposed: Mapping[ProductId, Exposed]
    market: Mapping[datetime, Market]

    def holdings(self, as_of: datetime, reserved: Mapping[ProductId, QuoteSize] = _NOTHING) -> tuple[Holding, ...]:
        """Everything that is exposure, at the marks of a market time; `reserved` are BUY reservations that came after."""
        market, found = self.market[as_of], []
        with localcontext(CONTEXT):
            for product_id in sorted(self.exposed):
                one, more = self.exposed[product_id], reserved.get(product_id)
                one = one if more is None else one.with_reserved(more)
                if one.is_exposed:
                    found.append(_holding(one, market.marks.get(product_id), market.volatility[product_id]))
        return tuple(found)


def _holding(one: Exposed, mark: Mark | None, known: Volatility) -> Holding:
    price = mark.price if mark is not None and can_be_a_mark(mark.price, one.base_size) else None
    return Holding(
        product_id=one.product_id,
        base_size=one.base_size,
        mark=price,
        sigma_14d=known.sigma_14d,
        open_buy=one.open_buy,
        open_sell_base=one.open_sell,
        reserved_buy=one.reserved_buy,
        order_unknown=one.order_unknown,
        dust=_is_dust(one, price),
    )


def _is_dust(one: Exposed, price: Price | None) -> bool:
    """A product that the exchange does not list has no rules: what is held of it is no dust."""
    if one.base_increment is None or one.base_min_size is None or one.quote_min_size is None:
        return False
    return is_dust(one.base_size, price, one.base_increment, one.base_min_size, one.quote_min_size)
