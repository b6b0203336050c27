"""The market as all WebSocket connections see it: read once per instant, whoever asks.

Candles come from a source that may be far away, so they are loaded ahead, a piece at a time, and what is new is added.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from exchange_sim.market import Candle, DayStatistics, Level, Market, Quote, Trade, UnsupportedGranularity
from exchange_sim.products import Product
from exchange_sim.socket_views import Range
from exchange_sim.times import SECOND_US

FIVE_MINUTES = 300
_DAY = 86_400
_YEAR = 364 * _DAY  # 52 weeks
# A venue gives 350 at once, and half a year of days is made in milliseconds.
_MOST_AT_ONCE = 182
_MOST_TRADES = 100


class Series:
    """The candles of one product over the last `span_seconds`, in the first of `granularities` that the market has."""

    def __init__(self, market: Market, product_id: str, granularities: Iterable[int], span_seconds: int) -> None:
        self._market = market
        self._product_id = product_id
        self._granularities = list(granularities)
        self._span_seconds = span_seconds
        self._turn = asyncio.Lock()
        self._known_us = -1
        self.candles: tuple[Candle, ...] = ()
        self._reach: Range | None = None

    @property
    def granularity(self) -> int | None:
        """Seconds; None when the market has none of them."""
        return self._granularities[0] if self._granularities else None

    async def catch_up(self, now_us: int) -> None:
        """Adds what is new at `now_us`; MarketUnavailable when the source is out, and then nothing changes."""
        async with self._turn:
            while self._granularities and now_us > self._known_us:
                try:
                    self.candles = await self._continued(self._granularities[0], now_us)
                    self._known_us = now_us
                    self._reach = _reach(self.candles)
                except UnsupportedGranularity:
                    self._granularities.pop(0)

    def range_with(self, last: Decimal) -> Range:
        """Lowest and highest price; `last` counts too, for it may lie outside candles that were loaded before it."""
        if self._reach is None:
            return Range(last, last)
        return Range(min(self._reach.low, last), max(self._reach.high, last))

    async def enter(self, now_us: int) -> None:
        """As catch_up, but only when a new candle has begun."""
        granularity = self.granularity
        if granularity is None or now_us // SECOND_US // granularity > self._known_us // SECOND_US // granularity:
            await self.catch_up(now_us)

    async def _continued(self, granularity: int, now_us: int) -> tuple[Candle, ...]:
        newest = now_us // SECOND_US // granularity * granularity
        oldest = max(0, newest - self._span_seconds)
        start = begin = max(oldest, self.candles[-1].start if self.candles else oldest)
        found: list[Candle] = []
        while begin <= newest:
            end = min(newest, begin + (_MOST_AT_ONCE - 1) * granularity)
            found += await self._market.candles(self._product_id, granularity, begin, end, now_us)
            begin = end + granularity
            await asyncio.sleep(0)  # orders are matched in between
        return (*(one for one in self.candles if oldest <= one.start < start), *found)


class SocketMarket:
    def __init__(self, market: Market) -> None:
        self._market = market
        self._days: dict[str, Series] = {}
        self._years: dict[str, Series] = {}
        self._instant = -1
        self._read: dict[tuple[str, str, int], Any] = {}

    def product_ids(self) -> tuple[str, ...]:
        return tuple(product.product_id for product in self._market.products())

    def product(self, product_id: str) -> Product | None:
        return self._market.product(product_id)

    def quote(self, product_id: str, now_us: int) -> Quote | None:
        found: Quote | None = self._once("quote", product_id, now_us, lambda: self._market.quote(product_id, now_us))
        return found

    def levels(self, product_id: str, side: str, now_us: int) -> tuple[Level, ...]:
        """What an order of `side` may take, best first."""
        found: tuple[Level, ...] = self._once(
            f"levels {side}", product_id, now_us, lambda: tuple(self._market.levels(product_id, side, now_us))
        )
        return found

    def best(self, product_id: str, now_us: int) -> tuple[Level, Level] | None:
        """The first level of bids and of asks; None where one is empty."""
        bids, asks = self.levels(product_id, "SELL", now_us), self.levels(product_id, "BUY", now_us)
        return (bids[0], asks[0]) if bids and asks else None

    def day(self, product_id: str, now_us: int) -> DayStatistics:
        found: DayStatistics = self._once("day", product_id, now_us, lambda: self._market.day(product_id, now_us))
        return found

    def trades_since(self, product_id: str, after_us: int, now_us: int) -> list[Trade]:
        """Trades later than `after_us`, oldest first; of many only the newest. Few are asked for first, as most are known."""
        count = 1
        while True:
            found = self._trades(product_id, count, now_us)
            newer = [trade for trade in found if trade.at_us > after_us]
            if len(newer) < len(found) or count >= _MOST_TRADES:
                return newer[::-1]
            count = min(2 * count, _MOST_TRADES)

    def _trades(self, product_id: str, count: int, now_us: int) -> list[Trade]:
        found: list[Trade] = self._once(
            "trades", product_id, now_us, lambda: self._market.trades(product_id, count, now_us), count
        )
        return found

    def day_series(self, product_id: str) -> Series:
        """Of five minutes, or coarser where the market has none so fine."""
        if product_id not in self._days:
            self._days[product_id] = Series(self._market, product_id, (FIVE_MINUTES, 3600, _DAY), _DAY)
        return self._days[product_id]

    def year_series(self, product_id: str) -> Series:
        if product_id not in self._years:
            self._years[product_id] = Series(self._market, product_id, (_DAY,), _YEAR)
        return self._years[product_id]

    def ranges(self, product_id: str, last: Decimal) -> tuple[Range, Range]:
        """Of 24 hours and of 52 weeks; the year's holds the day's, whose candles are newer."""
        day = self.day_series(product_id).range_with(last)
        year = self.year_series(product_id).range_with(last)
        return day, Range(min(day.low, year.low), max(day.high, year.high))

    def _once(self, what: str, product_id: str, now_us: int, read: Callable[[], Any], count: int = 0) -> Any:
        """One reading per instant, shared by all connections."""
        if now_us != self._instant:
            self._instant = now_us
            self._read.clear()
        key = (what, product_id, count)
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]


def _reach(candles: Sequence[Candle]) -> Range | None:
    return Range(min(one.low for one in candles), max(one.high for one in candles)) if candles else None
