"""Decides which candles are good, wherever they come from.

A candle that breaks a rule is refused under the first code it breaks, never repaired: a repaired candle is an invented
one, and a bar that is missing is something the features know how to handle.
"""

from datetime import datetime
from decimal import Decimal

from candle_files.rows import Candle
from tradekit.bars import EARLIEST, LATEST, bar_close, is_on_grid
from tradekit.products import is_product_id

PRODUCT_ID = "PRODUCT_ID"
NOT_FINITE = "NOT_FINITE"
OUT_OF_RANGE = "OUT_OF_RANGE"
PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
PRICE_BELOW_INCREMENT = "PRICE_BELOW_INCREMENT"
VOLUME_NEGATIVE = "VOLUME_NEGATIVE"
HIGH_BELOW_BODY = "HIGH_BELOW_BODY"
LOW_ABOVE_BODY = "LOW_ABOVE_BODY"
OFF_GRID = "OFF_GRID"
BEFORE_2009 = "BEFORE_2009"
FUTURE = "FUTURE"
NOT_CLOSED = "NOT_CLOSED"
# The bar is there already, with other values; what came first stays.
CONFLICT = "CONFLICT"

# What a stored amount can hold: digits before and after the point.
_WHOLE_DIGITS = 20
_DECIMALS = 18


def fault(candle: Candle, now: datetime | None, increment: Decimal | None = None) -> str | None:
    """The first rule that the candle breaks at market time `now`, None if it is good.

    Without `now` nothing is checked against the present. `increment` is the step of the product's price where it is known. A
    price below one step nobody can have paid there. More cannot be said of a price: steps change over the years, so
    history need not lie on today's, and no price is too far from its neighbours to have been true.
    """
    values = candle.values
    prices = values[:4]
    if not is_product_id(candle.product_id):
        return PRODUCT_ID
    for value in values:
        if not value.is_finite():
            return NOT_FINITE
    lowest = min(prices)
    if lowest <= 0:
        return PRICE_NOT_POSITIVE
    if increment is not None and lowest < increment:
        return PRICE_BELOW_INCREMENT
    if candle.volume < 0:
        return VOLUME_NEGATIVE
    for value in values:
        if not _fits(value):
            return OUT_OF_RANGE
    if candle.high < max(prices):
        return HIGH_BELOW_BODY
    if candle.low > lowest:
        return LOW_ABOVE_BODY
    return _time_fault(candle, now)


def _time_fault(candle: Candle, now: datetime | None) -> str | None:
    if not is_on_grid(candle.start, candle.granularity):
        return OFF_GRID
    if candle.start < EARLIEST:
        return BEFORE_2009
    if now is None:
        return None if candle.start < LATEST else FUTURE
    if candle.start > now:
        return FUTURE
    return NOT_CLOSED if bar_close(candle.start, candle.granularity) > now else None


def _fits(value: Decimal) -> bool:
    """Whether a column holds the number exactly; rounding it would be a repair."""
    text = str(value)
    if len(text) <= _DECIMALS and "E" not in text:
        return True
    if value.is_zero():
        return True
    exponent = value.as_tuple().exponent
    if value.adjusted() >= _WHOLE_DIGITS or not isinstance(exponent, int):
        return False
    if exponent >= -_DECIMALS:
        return True
    digits = value.as_tuple().digits
    return not any(digits[exponent + _DECIMALS :])
