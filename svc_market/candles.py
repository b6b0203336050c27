"""Decides which candles may be stored.

A row that breaks a rule is refused under the first code it breaks, never repaired: a repaired candle is an invented
one, and a bar that is missing is something the features know how to handle.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tradekit.bars import bar_close, is_on_grid
from tradekit.products import is_product_id

UNREADABLE = "UNREADABLE"
PRODUCT_ID = "PRODUCT_ID"
NOT_FINITE = "NOT_FINITE"
OUT_OF_RANGE = "OUT_OF_RANGE"
PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
PRICE_BELOW_INCREMENT = "PRICE_BELOW_INCREMENT"
VOLUME_NEGATIVE = "VOLUME_NEGATIVE"
HIGH_BELOW_BODY = "HIGH_BELOW_BODY"
LOW_ABOVE_BODY = "LOW_ABOVE_BODY"
OFF_GRID = "OFF_GRID"
FUTURE = "FUTURE"
NOT_CLOSED = "NOT_CLOSED"
NEWER_THAN_FEED = "NEWER_THAN_FEED"
# The bar is stored already, with other values; what is stored stays.
CONFLICT = "CONFLICT"

ROW_TEXT_LENGTH = 500
# What a stored amount can hold: digits before and after the point.
_WHOLE_DIGITS = 20
_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar as somebody gave it. Prices in quote currency, volume in base units, granularity in seconds."""

    product_id: str
    granularity: int
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def key(self) -> tuple[str, int, datetime]:
        """What makes it the same bar."""
        return (self.product_id, self.granularity, self.start)

    @property
    def values(self) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
        return (self.open, self.high, self.low, self.close, self.volume)

    def text(self) -> str:
        """The row for people, bounded."""
        values = ",".join(str(value) for value in self.values)
        return f"{self.product_id},{self.granularity},{self.start.isoformat()},{values}"[:ROW_TEXT_LENGTH]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not stored: reason code, product where it is known, and the row as text."""

    code: str
    product_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Followed:
    """What the exchange itself tells: candles of these products, so far up to the close time `told_until`.

    What closes later it has yet to tell; stored first from elsewhere, another candle would keep the exchange's own out.
    """

    product_ids: frozenset[str]
    granularity: int
    told_until: datetime

    def has_yet_to_tell(self, candle: Candle) -> bool:
        if candle.granularity != self.granularity or candle.product_id not in self.product_ids:
            return False
        return bar_close(candle.start, candle.granularity) > self.told_until


@dataclass(frozen=True, slots=True)
class Sifted:
    """Rows by what becomes of them: `again` are good rows about a bar that is in `good` already."""

    good: tuple[Candle, ...]
    again: tuple[Candle, ...]
    refused: tuple[Refusal, ...]


def fault(candle: Candle, now: datetime, increment: Decimal | None = None) -> str | None:
    """The first rule that the candle breaks at market time `now`, None if it may be stored.

    `increment` is the step of the product's price where it is known. A price below one step nobody can have paid there.
    More cannot be said of a price: steps change over the years, so history need not lie on today's, and no price is too
    far from its neighbours to have been true.
    """
    prices = candle.values[:4]
    if not is_product_id(candle.product_id):
        return PRODUCT_ID
    if not all(value.is_finite() for value in candle.values):
        return NOT_FINITE
    if min(prices) <= 0:
        return PRICE_NOT_POSITIVE
    if increment is not None and min(prices) < increment:
        return PRICE_BELOW_INCREMENT
    if candle.volume < 0:
        return VOLUME_NEGATIVE
    if not all(_fits(value) for value in candle.values):
        return OUT_OF_RANGE
    if candle.high < max(prices):
        return HIGH_BELOW_BODY
    if candle.low > min(prices):
        return LOW_ABOVE_BODY
    return _time_fault(candle, now)


def _time_fault(candle: Candle, now: datetime) -> str | None:
    if not is_on_grid(candle.start, candle.granularity):
        return OFF_GRID
    if candle.start > now:
        return FUTURE
    return NOT_CLOSED if bar_close(candle.start, candle.granularity) > now else None


def _fits(value: Decimal) -> bool:
    """Whether a column holds the number exactly; rounding it would be a repair."""
    if value.is_zero():
        return True
    exponent = value.as_tuple().exponent
    if value.adjusted() >= _WHOLE_DIGITS or not isinstance(exponent, int):
        return False
    if exponent >= -_DECIMALS:
        return True
    digits = value.as_tuple().digits
    return not any(digits[exponent + _DECIMALS :])


def sift(
    rows: Iterable[Candle | Refusal],
    now: datetime,
    increments: Mapping[str, Decimal],
    followed: Followed | None = None,
) -> Sifted:
    """Checks rows one by one; of several rows about one bar the first counts, the others are compared with it later.

    `increments` are the steps of the prices of the products that are known. `followed` is given for rows that do not
    come from the exchange, where one is followed.
    """
    good: dict[tuple[str, int, datetime], Candle] = {}
    again: list[Candle] = []
    refused: list[Refusal] = []
    for row in rows:
        code = row.code if isinstance(row, Refusal) else fault(row, now, increments.get(row.product_id))
        if isinstance(row, Candle) and code is None and followed is not None and followed.has_yet_to_tell(row):
            code = NEWER_THAN_FEED
        if isinstance(row, Refusal):
            refused.append(row)
        elif code is not None:
            refused.append(Refusal(code, row.product_id, row.text()))
        elif row.key in good:
            again.append(row)
        else:
            good[row.key] = row
    return Sifted(tuple(good.values()), tuple(again), tuple(refused))
