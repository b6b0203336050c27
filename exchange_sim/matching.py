"""The arithmetic of a fill: size, value and fee, exact to the last digit.

Nothing is rounded but the base size bought for an amount of quote, which is floored to the
product's increment; the remainder of that amount stays with the owner.
"""

from dataclasses import dataclass
from decimal import Decimal

from exchange_sim.numbers import EXACT, ONE


@dataclass(frozen=True, slots=True)
class FillAmounts:
    price: Decimal
    size: Decimal
    value: Decimal
    fee: Decimal


def fill_base(price: Decimal, size: Decimal, rate: Decimal) -> FillAmounts:
    value = EXACT.multiply(price, size)
    return FillAmounts(price, size, value, EXACT.multiply(value, rate))


def fill_quote(price: Decimal, spend: Decimal, rate: Decimal, increment: Decimal) -> FillAmounts:
    """The most base that `spend` buys with the fee inside it."""
    unit_cost = EXACT.multiply(EXACT.multiply(price, increment), EXACT.add(ONE, rate))
    units = EXACT.divide_int(spend, unit_cost)
    return fill_base(price, EXACT.multiply(units, increment), rate)
