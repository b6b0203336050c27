"""How much a SELL may take out of a position: never more than is free, and the whole of it where the rest were dust.

One rule for whoever sizes an exit: the risk engine when it is asked, and the executor, which is the last to know what is
held and what the exchange has free.
"""

from dataclasses import dataclass

from tradekit.products import floor_to
from tradekit.sizes import NO_BASE, NO_QUOTE
from tradekit.units import BaseSize, Price, QuoteSize


@dataclass(frozen=True, slots=True)
class ExitSize:
    """A size on the product's grid, and the value of the rest that was taken along (0: none)."""

    size: BaseSize
    dust_value: QuoteSize = NO_QUOTE


def exit_size(
    wanted: BaseSize, free: BaseSize, base_increment: BaseSize, price: Price | None, least_notional: QuoteSize
) -> ExitSize:
    """As much of `wanted` as is free; no price closes no dust.

    A rest that is worth less than `least_notional` could never be sold by itself, so it goes with this exit.
    """
    whole = floor_to(max(free, NO_BASE), base_increment)
    size = min(floor_to(wanted, base_increment), whole)
    rest = whole - size
    if price is not None and 0 < rest * price < least_notional:
        return ExitSize(whole, rest * price)
    return ExitSize(size)


def is_dust(
    held: BaseSize, price: Price | None, base_increment: BaseSize, base_min_size: BaseSize, quote_min_size: QuoteSize
) -> bool:
    """Whether something is held of which the exchange takes no order: below its grid, its least size or its least value."""
    size = floor_to(held, base_increment)
    small = size < base_min_size or (price is not None and size * price < quote_min_size)
    return held > 0 and (size == 0 or small)
