"""Exact numbers: the one grammar of decimal text, and its inverse.

The grammar is that of `trading.common.v1.Decimal`; what it refuses (exponents, NaN, leading zeros) never gets inside.
"""

import re
from decimal import Context, Decimal, localcontext
from typing import TypeVar

from tradekit.units import BaseSize, Price, QuoteSize

_PATTERN = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?\Z")
MAX_TEXT = 40
# NUMERIC(38,18) in the database; products and quotients inside are worked out with more room and quantised once.
CONTEXT = Context(prec=60)
ZERO = Decimal(0)
ONE = Decimal(1)
STORED_SCALE = Decimal("1e-18")
# Rounding keeps the unit.
U = TypeVar("U", BaseSize, QuoteSize, Price, Decimal)


def parse_decimal(text: str) -> Decimal:
    """The number that `text` spells. ValueError says which rule it breaks."""
    if len(text) > MAX_TEXT or not _PATTERN.match(text):
        raise ValueError("must be plain decimal text such as 12.50: up to 20 digits, up to 18 decimals, no exponent")
    number = Decimal(text)
    if number.is_zero() and text.startswith("-"):
        raise ValueError("negative zero is not a number here; write 0")
    return number


def format_decimal(number: Decimal) -> str:
    """Plain text of a finite number, trailing zeros kept, no exponent. ValueError beyond 20 digits or 18 decimals."""
    if not number.is_finite():
        raise ValueError(f"{number} is not finite")
    if number.is_zero():
        number = abs(number)
    text = format(number, "f")
    whole, _, fraction = text.partition(".")
    if len(fraction) > 18:
        if fraction[18:].strip("0"):
            raise ValueError(f"{text} has more than 18 decimals")
        text = f"{whole}.{fraction[:18]}"
    if not _PATTERN.match(text):
        raise ValueError(f"{text} has more than 20 digits before the point")
    return text


def plain(number: Decimal) -> str:
    """Shortest plain text: no exponent, no trailing zeros. For people, reasons and hashes."""
    if number.is_zero():
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def divide(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Quotient with 60 significant digits; the caller quantises it once."""
    with localcontext(CONTEXT):
        return numerator / denominator


def to_stored_scale(number: U) -> U:
    """The number rounded half-even to the 18 decimals that a column holds."""
    with localcontext(CONTEXT):
        return number.quantize(STORED_SCALE)
