"""Decimal arithmetic of the exchange: exact where money moves, plain text on the wire.

Values and fees are products of bounded decimals, so they can be exact. The EXACT context raises
instead of rounding, which turns a silent loss of digits into an error.
"""

import re
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
ZERO = Decimal(0)
ONE = Decimal(1)

# Fifteen digits before and eighteen after the point hold every size and price a venue accepts.
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?")


def parse_number(text: str) -> Decimal | None:
    """The decimal in `text`, or None when it is not a plain non-negative number."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def plain(value: Decimal) -> str:
    """Shortest text without an exponent: 1E+2 is '100', 0.10 is '0.1'."""
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def is_multiple(value: Decimal, increment: Decimal) -> bool:
    return EXACT.remainder(value, increment) == 0


def floor_to(value: Decimal, increment: Decimal) -> Decimal:
    steps = (value / increment).to_integral_value(rounding=ROUND_FLOOR)
    return EXACT.multiply(steps, increment)


def ceil_to(value: Decimal, increment: Decimal) -> Decimal:
    steps = (value / increment).to_integral_value(rounding=ROUND_CEILING)
    return EXACT.multiply(steps, increment)
