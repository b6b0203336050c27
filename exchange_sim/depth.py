"""What a size costs: the levels of a book, and the walk of an order through them. Pure.

Levels lie a basis point apart and grow with the distance; the touch is worth a fifty-thousandth of a day's trading. What an order
takes is there again for the next one: this exchange has one customer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from exchange_sim.market import Level, Quote
from exchange_sim.matching import FillAmounts, fill_base, fill_quote
from exchange_sim.numbers import EXACT, ONE, ZERO, floor_to
from exchange_sim.products import Product

LEVELS = 50
_SPACING = Decimal("0.0001")
_GROWTH = Decimal("0.2")
_TOUCH_SHARE = Decimal("0.00002")
# In quote currency: orders of a usual size fill at the touch of a quiet product too.
_LEAST_TOUCH = Decimal(2000)
# A market order fills to this distance from the middle; the rest is cancelled.
_PROTECTION = Decimal("0.03")
# Of a price step, so small that no limit on the grid lies between.
_OFF_GRID = Decimal("0.37")


def ladder(product: Product, quote: Quote, day_value: Decimal, side: str) -> Iterator[Level]:
    """What an order of `side` may take, best first."""
    best, away = (quote.ask, ONE) if side == "BUY" else (quote.bid, -ONE)
    step = max(product.price_increment, floor_to(best * _SPACING, product.price_increment))
    touch = max(_LEAST_TOUCH, day_value * _TOUCH_SHARE)
    for place in range(LEVELS):
        price = EXACT.add(best, EXACT.multiply(away, EXACT.multiply(step, Decimal(place))))
        if price <= 0:
            return
        size = floor_to(touch * (ONE + _GROWTH * place) / price, product.base_increment)
        yield Level(price, min(size, product.base_max_size))


def off_grid(levels: Iterable[Level], side: str, product: Product) -> Iterator[Level]:
    """The same levels, each a part of a price step better for who takes: a price that nobody could have asked for."""
    better = EXACT.multiply(product.price_increment, _OFF_GRID if side == "SELL" else -_OFF_GRID)
    return (replace(level, price=EXACT.add(level.price, better)) for level in levels)


@dataclass(frozen=True, slots=True)
class Walk:
    """The fills of an order that takes, and whether they are all that was asked for."""

    fills: tuple[FillAmounts, ...]
    complete: bool

    @property
    def size(self) -> Decimal:
        return _sum(one.size for one in self.fills)

    @property
    def value(self) -> Decimal:
        return _sum(one.value for one in self.fills)

    @property
    def cost(self) -> Decimal:
        """Value and fees."""
        return EXACT.add(self.value, self.fee)

    @property
    def fee(self) -> Decimal:
        return _sum(one.fee for one in self.fills)


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def protected(side: str, quote: Quote) -> Decimal:
    """The worst price of a market order."""
    return (quote.bid + quote.ask) / 2 * (ONE + _PROTECTION if side == "BUY" else ONE - _PROTECTION)


def _within(levels: Iterable[Level], side: str, limit: Decimal) -> Iterator[Level]:
    for level in levels:
        if level.price > limit if side == "BUY" else level.price < limit:
            return
        yield level


def walk_base(levels: Iterable[Level], side: str, limit: Decimal, size: Decimal, rate: Decimal) -> Walk:
    """Takes `size` of the base, at `limit` or better."""
    left, fills = size, []
    for level in _within(levels, side, limit):
        taken = min(left, level.size)
        if taken:
            fills.append(fill_base(level.price, taken, rate))
            left = EXACT.subtract(left, taken)
        if not left:
            break
    return Walk(tuple(fills), not left)


def walk_quote(levels: Iterable[Level], limit: Decimal, spend: Decimal, rate: Decimal, product: Product) -> Walk:
    """Buys for `spend`, the fee inside it, at `limit` or better; what is too little for one more step stays with its owner."""
    left, fills = spend, []
    for level in _within(levels, "BUY", limit):
        wanted = fill_quote(level.price, left, rate, product.base_increment)
        made = wanted if wanted.size <= level.size else fill_base(level.price, level.size, rate)
        if made.size:
            fills.append(made)
            left = EXACT.subtract(left, EXACT.add(made.value, made.fee))
        if made is wanted:
            return Walk(tuple(fills), complete=True)
    return Walk(tuple(fills), complete=False)
