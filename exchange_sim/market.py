"""What the exchange asks of a market, whichever kind it is: products, quotes, candles, touches.

Time is always handed in, so that a market that is a function of time gives the same answer
whenever and however often it is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from exchange_sim.products import Product

GRANULARITIES = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1800,
    "ONE_HOUR": 3600,
    "TWO_HOUR": 7200,
    "FOUR_HOUR": 14400,
    "SIX_HOUR": 21600,
    "ONE_DAY": 86400,
}


class UnsupportedGranularity(Exception):
    """The market has no candles this fine; the caller must ask for coarser ones."""


class MarketUnavailable(Exception):
    """The market's source cannot be reached now; the caller may try again."""


class UnknownProduct(Exception):
    """Settings name a product the generated market has no character for."""


@dataclass(frozen=True, slots=True)
class Candle:
    """[start, start + granularity), start in UNIX seconds, volume in base units."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """The last price with the best bid and ask, all on the price increment except `last`."""

    last: Decimal
    bid: Decimal
    ask: Decimal
    at_us: int


@dataclass(frozen=True, slots=True)
class Level:
    """One price of a book and the size there."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    trade_id: str
    price: Decimal
    size: Decimal
    maker_side: str
    at_us: int


@dataclass(frozen=True, slots=True)
class DayStatistics:
    volume: Decimal
    change_ratio: Decimal


class Market(Protocol):
    """One source of prices. `label` says in one word what kind of truth its prices are."""

    @property
    def label(self) -> str: ...

    @property
    def follows_wall_clock(self) -> bool:
        """True when time cannot be steered because the prices come from outside."""
        ...

    @property
    def first_bar_us(self) -> int | None: ...

    @property
    def last_bar_us(self) -> int | None: ...

    @property
    def end_us(self) -> int | None:
        """No price exists after this instant; None for a market without end."""
        ...

    def products(self) -> tuple[Product, ...]: ...

    def product(self, product_id: str) -> Product | None: ...

    def quote(self, product_id: str, at_us: int) -> Quote | None:
        """None while no trustworthy price exists."""
        ...

    def levels(self, product_id: str, side: str, at_us: int) -> Iterator[Level]:
        """What an order of `side` may take, best first; nothing while there is no quote."""
        ...

    def first_touch(self, product_id: str, side: str, limit: Decimal, after_us: int, upto_us: int) -> int | None:
        """When in [after, upto] a resting limit order would first have been hit, if at all."""
        ...

    def first_reach(self, product_id: str, price: Decimal, rising: bool, after_us: int, upto_us: int) -> int | None:
        """When in [after, upto] the last price is first at or beyond `price`, from below if `rising`."""
        ...

    def trades(self, product_id: str, count: int, at_us: int) -> list[Trade]:
        """The newest public trades, newest first."""
        ...

    def day(self, product_id: str, at_us: int) -> DayStatistics: ...

    async def candles(self, product_id: str, granularity: int, start: int, end: int, at_us: int) -> list[Candle]:
        """Candles with start in [start, end], oldest first, the unfinished one as it stands."""
        ...
