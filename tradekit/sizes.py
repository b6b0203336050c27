"""From one unit to another where an operator alone would not do: exact quotients, and the size of an order by its side.

A BUY spends quote currency, a SELL gives base units. An `OrderSize` is one or the other; whoever reckons with it says which
side it is of and gets the unit that goes with it.
"""

from decimal import Decimal, localcontext

from tradekit.decimals import CONTEXT, ONE, ZERO, divide, to_stored_scale
from tradekit.states import Side
from tradekit.units import BaseSize, OrderSize, Price, QuoteSize

NO_BASE = BaseSize(ZERO)
# A price that says nothing, for the row of an exit of which nobody knows one.
NO_PRICE_KNOWN = Price(ONE)
NO_QUOTE = QuoteSize(ZERO)
# What is worth nothing, for want of a price: it adds nothing to a sum of values.
NO_PRICE = Price(ZERO)


def base_of(value: QuoteSize, price: Price) -> BaseSize:
    """Base units that `value` buys at a price, to 60 digits."""
    return BaseSize(divide(value, price))


def price_of(value: QuoteSize, size: BaseSize) -> Price:
    """What one base unit costs where `size` of them cost `value`, to 60 digits."""
    return Price(divide(value, size))


def share_of(amount: QuoteSize, size: BaseSize, whole: BaseSize) -> QuoteSize:
    """The part of `amount` that `size` out of `whole` carries, rounded to 18 decimals; all of it takes all."""
    if size >= whole:
        return amount
    with localcontext(CONTEXT):
        # Multiplied first: the quotient alone would be cut before it meets the amount.
        return to_stored_scale(QuoteSize(amount * size / whole))


def order_size(side: Side, number: Decimal) -> OrderSize:
    """A bare number as the size of an order of this side."""
    return QuoteSize(number) if side is Side.BUY else BaseSize(number)


def exceeds(side: Side, size: OrderSize, limit: OrderSize) -> bool:
    """Whether one size of a side is above another."""
    if side is Side.BUY:
        return quote_size(side, size) > quote_size(side, limit)
    return base_size(side, size) > base_size(side, limit)


def quote_size(side: Side, size: OrderSize) -> QuoteSize:
    """The quote currency that a BUY spends. ValueError for a SELL, whose size is none."""
    if side is not Side.BUY:
        raise ValueError(f"a {side.value} is sized in base units")
    return QuoteSize(size)


def base_size(side: Side, size: OrderSize) -> BaseSize:
    """The base units that a SELL gives. ValueError for a BUY, whose size is none."""
    if side is not Side.SELL:
        raise ValueError(f"a {side.value} is sized in quote currency")
    return BaseSize(size)
