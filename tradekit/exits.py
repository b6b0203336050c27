"""How much a SELL may take out of a position: never more than is free, and the whole of it where the rest were dust.

One rule for whoever sizes an exit: the risk engine when it is asked, and the executor, which is the last to know what is
held and what the exchange has free.
"""

from dataclasses import dataclass
from decimal import Decimal

from tradekit.decimals import ZERO
from tradekit.products import floor_to


@dataclass(frozen=True, slots=True)
class ExitSize:
    """A size in base units on the product's grid, and the quote value of the rest that was taken along (0: none)."""

    size: Decimal
    dust_value: Decimal = ZERO


def exit_size(
    wanted: Decimal, free: Decimal, base_increment: Decimal, price: Decimal | None, least_notional: Decimal
) -> ExitSize:
    """`wanted` and `free` are base units; `price` and `least_notional` are in quote currency, no price closes no dust.

    A rest that is worth less than `least_notional` could never be sold by itself, so it goes with this exit.
    """
    whole = floor_to(max(free, ZERO), base_increment)
    size = min(floor_to(wanted, base_increment), whole)
    rest = whole - size
    if price is not None and 0 < rest * price < least_notional:
        return ExitSize(whole, rest * price)
    return ExitSize(size)


def is_dust(
    held: Decimal, price: Decimal | None, base_increment: Decimal, base_min_size: Decimal, quote_min_size: Decimal
) -> bool:
    """Whether something is held of which the exchange takes no order: below its grid, its least size or its least value."""
    size = floor_to(held, base_increment)
    small = size < base_min_size or (price is not None and size * price < quote_min_size)
    return held > 0 and (size == 0 or small)
