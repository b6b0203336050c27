"""A market that is a table of bars: quotes, unfinished candles and touches out of whole bars.

Both the generated and the replayed market are such tables. At a bar's start the last price is
its open; a missing bar leaves the price where the last one closed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Protocol

from exchange_sim.candle_path import between, partial, price_at, touch
from exchange_sim.depth import ladder
from exchange_sim.market import Candle, DayStatistics, Level, Quote, Trade, UnsupportedGranularity
from exchange_sim.numbers import EXACT, ONE, ZERO, ceil_to, floor_to
from exchange_sim.products import Product
from exchange_sim.times import SECOND_US

DAY_SECONDS = 86_400
TRADE_SPACING_SECONDS = 10
_SIZE_STEP = Decimal("0.00000001")


class BarSource(Protocol):
    """Whole bars of one step. Times are UNIX seconds on the step's grid."""

    @property
    def label(self) -> str: ...

    @property
    def step(self) -> int: ...

    @property
    def has_insides(self) -> bool:
        """Whether its way inside a bar is its own truth; of a recorded bar nobody knows more than the bar."""
        ...

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int | None:
        """Start of the last bar there will ever be; None without end."""
        ...

    def products(self) -> Sequence[Product]: ...

    def bar(self, product_id: str, start: int) -> Candle | None: ...

    def last_before(self, product_id: str, start: int) -> Candle | None:
        """The newest bar that starts before `start`."""
        ...

    def bars(self, product_id: str, start: int, end: int) -> list[Candle]:
        """Bars with start in [start, end), oldest first."""
        ...

    def aggregate(self, product_id: str, granularity: int, start: int, end: int) -> list[Candle]:
        """Bars with start in [start, end) folded into buckets of a multiple of the step."""
        ...


def fold(bucket: int, parts: Sequence[Candle]) -> Candle:
    """One candle out of several consecutive ones."""
    volume = ZERO
    for part in parts:
        volume = EXACT.add(volume, part.volume)
    high, low = max(part.high for part in parts), min(part.low for part in parts)
    return Candle(bucket, parts[0].open, high, low, parts[-1].close, volume)


class BarMarket:
    def __init__(self, source: BarSource, spread_bps: Decimal, *, follows_wall_clock: bool = False) -> None:
        self.follows_wall_clock = follows_wall_clock
        self._source = source
        self._half_spread = spread_bps / Decimal(20_000)
        self._products = {product.product_id: product for product in source.products()}
        self._day_values: dict[str, tuple[int, Decimal]] = {}

    @property
    def label(self) -> str:
        return self._source.label

    @property
    def first_bar_us(self) -> int | None:
        return self._source.first * SECOND_US

    @property
    def last_bar_us(self) -> int | None:
        last = self._source.last
        return None if last is None else last * SECOND_US

    @property
    def end_us(self) -> int | None:
        last = self._source.last
        return None if last is None else (last + self._source.step) * SECOND_US

    def products(self) -> tuple[Product, ...]:
        return tuple(self._products.values())

    def product(self, product_id: str) -> Product | None:
        return self._products.get(product_id)

    def quote(self, product_id: str, at_us: int) -> Quote | None:
        product = self._products[product_id]
        last = self._last_price(product, at_us)
        if last is None:
            return None
        tick = product.price_increment
        bid = max(tick, floor_to(last * (ONE - self._half_spread), tick))
        return Quote(last, bid, ceil_to(last * (ONE + self._half_spread), tick), at_us)

    def levels(self, product_id: str, side: str, at_us: int) -> Iterator[Level]:
        quote = self.quote(product_id, at_us)
        if quote is None:
            return iter(())
        return ladder(self._products[product_id], quote, self._day_value(product_id, at_us), side)

    def _day_value(self, product_id: str, at_us: int) -> Decimal:
        """What the whole day before traded, in quote currency; each product's is made once a day."""
        day = at_us // SECOND_US // DAY_SECONDS
        kept = self._day_values.get(product_id)
        if kept is None or kept[0] != day:
            bars = self._source.aggregate(product_id, DAY_SECONDS, (day - 1) * DAY_SECONDS, day * DAY_SECONDS)
            value = bars[0].volume * bars[0].close if bars else ZERO
            kept = self._day_values[product_id] = (day, value)
        return kept[1]

    def first_touch(self, product_id: str, side: str, limit: Decimal, after_us: int, upto_us: int) -> int | None:
        # The spread is applied before rounding outward, so on-grid limits compare unrounded.
        buying = side == "BUY"
        threshold = limit / (ONE + self._half_spread) if buying else limit / (ONE - self._half_spread)
        return self._first(product_id, threshold, buying, after_us, upto_us)

    def first_reach(self, product_id: str, price: Decimal, rising: bool, after_us: int, upto_us: int) -> int | None:
        return self._first(product_id, price, not rising, after_us, upto_us)

    def _first(self, product_id: str, threshold: Decimal, falling: bool, after_us: int, upto_us: int) -> int | None:
        step_us = self._source.step * SECOND_US
        first = after_us // step_us * self._source.step
        for bar in self._source.bars(product_id, first, upto_us // SECOND_US + 1):
            opened_us = bar.start * SECOND_US
            window = (max(0, after_us - opened_us), min(step_us, upto_us - opened_us))
            offset = touch(bar, step_us, threshold, falling, window)
            if offset is not None:
                return opened_us + offset
        return None

    def trades(self, product_id: str, count: int, at_us: int) -> list[Trade]:
        """A trade every ten seconds, each an equal share of its bar's volume."""
        product = self._products[product_id]
        spacing_us = TRADE_SPACING_SECONDS * SECOND_US
        newest = at_us // spacing_us
        prices = [self._last_price(product, (newest - i) * spacing_us) for i in range(count + 1)]
        trades = []
        for i in range(count):
            price, before = prices[i], prices[i + 1]
            size = self._trade_size(product, (newest - i) * TRADE_SPACING_SECONDS)
            if price is None or before is None or size <= 0:
                continue
            maker = "SELL" if price >= before else "BUY"
            trades.append(Trade(f"{newest - i}", price, size, maker, (newest - i) * spacing_us))
        return trades

    def day(self, product_id: str, at_us: int) -> DayStatistics:
        end = at_us // SECOND_US // self._source.step * self._source.step
        volume, product = ZERO, self._products[product_id]
        for candle in self._source.aggregate(product_id, DAY_SECONDS, end - DAY_SECONDS, end):
            volume = EXACT.add(volume, candle.volume)
        now, before = (
            self._last_price(product, at_us),
            self._last_price(product, at_us - DAY_SECONDS * SECOND_US),
        )
        change = ZERO if now is None or before is None else now / before - ONE
        return DayStatistics(volume, change)

    async def candles(self, product_id: str, granularity: int, start: int, end: int, at_us: int) -> list[Candle]:
        source = self._source
        if source.has_insides and granularity < source.step and source.step % granularity == 0:
            return self._finer(product_id, granularity, start, end, at_us)
        if granularity % source.step:
            raise UnsupportedGranularity(f"candles of {granularity} s do not exist in this market")
        begin = -(-start // granularity) * granularity
        stop = end // granularity * granularity + granularity
        current = at_us // SECOND_US // source.step * source.step
        found = source.aggregate(product_id, granularity, begin, min(stop, current))
        if begin <= current < stop:
            self._append_unfinished(found, product_id, granularity, current, at_us)
        return found

    def _finer(self, product_id: str, granularity: int, start: int, end: int, at_us: int) -> list[Candle]:
        """Parts of whole bars, along the way that the price goes inside them; folded they are the bar again."""
        step, product, found = self._source.step, self._products[product_id], []
        begin = -(-start // granularity) * granularity
        for bar in self._source.bars(product_id, begin // step * step, end + 1):
            opened_us = bar.start * SECOND_US
            for part in range(max(bar.start, begin), min(bar.start + step, end + 1), granularity):
                first = (part - bar.start) * SECOND_US
                last = min(first + granularity * SECOND_US, at_us - opened_us)
                if last > first:
                    piece = _on_grid(bar, between(bar, step * SECOND_US, first, last), product)
                    found.append(replace(piece, start=part))
        return found

    def _append_unfinished(
        self, found: list[Candle], product_id: str, granularity: int, start: int, at_us: int
    ) -> None:
        offset_us, bar = at_us - start * SECOND_US, self._source.bar(product_id, start)
        if bar is None or offset_us == 0:
            return
        piece = _on_grid(bar, partial(bar, self._source.step * SECOND_US, offset_us), self._products[product_id])
        bucket = start // granularity * granularity
        if found and found[-1].start == bucket:
            piece = fold(bucket, (found.pop(), piece))
        found.append(Candle(bucket, piece.open, piece.high, piece.low, piece.close, piece.volume))

    def _last_price(self, product: Product, at_us: int) -> Decimal | None:
        step = self._source.step
        start = at_us // SECOND_US // step * step
        bar = self._source.bar(product.product_id, start)
        if bar is None:
            before = self._source.last_before(product.product_id, start)
            return None if before is None else before.close
        offset_us = at_us - start * SECOND_US
        price = price_at(bar, step * SECOND_US, offset_us)
        return _rounded(bar, price, product)

    def _trade_size(self, product: Product, at: int) -> Decimal:
        step = self._source.step
        bar = self._source.bar(product.product_id, at // step * step)
        share = Decimal(TRADE_SPACING_SECONDS) / Decimal(step)
        return ZERO if bar is None else floor_to(bar.volume * share, _SIZE_STEP)


def _rounded(bar: Candle, price: Decimal, product: Product) -> Decimal:
    """The bar's own prices are what they are; one in between goes to the grid, within the bar."""
    if price in (bar.open, bar.high, bar.low, bar.close):
        return price
    tick = product.price_increment
    nearest = EXACT.multiply((price / tick).to_integral_value(rounding=ROUND_HALF_EVEN), tick)
    return min(max(nearest, bar.low), bar.high)


def _on_grid(bar: Candle, piece: Candle, product: Product) -> Candle:
    prices = [_rounded(bar, price, product) for price in (piece.open, piece.high, piece.low, piece.close)]
    return Candle(piece.start, prices[0], max(prices), min(prices), prices[3], piece.volume)
