"""What each channel of the market says. All of it follows the exchange's clock: while the market stands still nothing has
changed, and only heartbeats go out.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from exchange_sim import socket_views as views
from exchange_sim.market import Candle, DayStatistics, Level, Quote
from exchange_sim.numbers import ZERO
from exchange_sim.products import Product
from exchange_sim.socket_channel import Messages, OfProducts
from exchange_sim.socket_market import FIVE_MINUTES
from exchange_sim.socket_request import BadMessage
from exchange_sim.views import Json

_SECOND, _FIVE_SECONDS = 4, 20  # in beats
_SNAPSHOT_CANDLES = 100

_TickerView = Callable[[Product, Quote, DayStatistics, views.Range, views.Range, tuple[Level, Level]], Json]


class Heartbeats:
    sends_as, every = "heartbeats", _SECOND

    def __init__(self) -> None:
        self._counter = 0
        self._on = False

    def subscribed(self) -> list[str]:
        return [self.sends_as] if self._on else []

    async def load(self, product_ids: Sequence[str], now_us: int) -> None: ...

    async def refresh(self, now_us: int) -> None: ...

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        self._on = True
        return []

    def stop(self, product_ids: Sequence[str]) -> None:
        self._on = False

    def update(self, now_us: int) -> Messages:
        self._counter += 1
        return [[views.heartbeat(now_us, self._counter)]]


class Status(OfProducts[Product | None]):
    sends_as, every = "status", _SECOND

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        self._shown |= {product_id: self._market.product(product_id) for product_id in product_ids}
        return [[self._event("snapshot", product_ids)]]

    def update(self, now_us: int) -> Messages:
        changed = [one for one, shown in self._shown.items() if self._market.product(one) != shown]
        self._shown |= {product_id: self._market.product(product_id) for product_id in changed}
        return [[self._event("update", changed)]] if changed else []

    def _event(self, kind: str, product_ids: Sequence[str]) -> Json:
        products = (self._shown[product_id] for product_id in product_ids)
        return {"type": kind, "products": [views.status(one) for one in products if one is not None]}


class Ticker(OfProducts[object]):
    """Remembers prices and ranges. Volume and change of a day move with the clock alone; they go out with the next price."""

    sends_as, every = "ticker", 1
    _view: _TickerView = staticmethod(views.ticker)

    async def load(self, product_ids: Sequence[str], now_us: int) -> None:
        for product_id in product_ids:
            await self._market.day_series(product_id).enter(now_us)
            await self._market.year_series(product_id).enter(now_us)

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        self._shown |= {product_id: self._prices(product_id, now_us) for product_id in product_ids}
        return [[self._event("snapshot", product_ids, now_us)]]

    def update(self, now_us: int) -> Messages:
        changed = []
        for product_id, shown in self._shown.items():
            prices = self._prices(product_id, now_us)
            if prices is not None and prices != shown:
                self._shown[product_id] = prices
                changed.append(product_id)
        return [[self._event("update", changed, now_us)]] if changed else []

    def _prices(self, product_id: str, now_us: int) -> object:
        quote = self._market.quote(product_id, now_us)
        if quote is None:
            return None
        return quote.last, quote.bid, quote.ask, self._market.ranges(product_id, quote.last)

    def _event(self, kind: str, product_ids: Sequence[str], now_us: int) -> Json:
        """A product without a trustworthy price is not in it."""
        tickers = []
        for product_id in product_ids:
            product, quote = self._market.product(product_id), self._market.quote(product_id, now_us)
            best = self._market.best(product_id, now_us)
            if product is not None and quote is not None and best is not None:
                day_range, year_range = self._market.ranges(product_id, quote.last)
                day = self._market.day(product_id, now_us)
                tickers.append(self._view(product, quote, day, day_range, year_range, best))
        return {"type": kind, "tickers": tickers}


class TickerBatch(Ticker):
    sends_as, every = "ticker_batch", _FIVE_SECONDS
    _view: _TickerView = staticmethod(views.ticker_batch)


class Candles(OfProducts[Candle | None]):
    """Buckets of five minutes; the newest is sent again for as long as it grows, and once more when it is whole."""

    sends_as, every = "candles", _SECOND

    async def load(self, product_ids: Sequence[str], now_us: int) -> None:
        for product_id in product_ids:
            series = self._market.day_series(product_id)
            await series.catch_up(now_us)
            if series.granularity != FIVE_MINUTES:
                raise BadMessage("this market has no candles of five minutes")

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        shown = []
        for product_id in product_ids:
            candles = self._market.day_series(product_id).candles[-_SNAPSHOT_CANDLES:]
            self._shown[product_id] = candles[-1] if candles else None
            shown += [views.candle(one, product_id) for one in candles]
        return [[{"type": "snapshot", "candles": shown}]]

    def update(self, now_us: int) -> Messages:
        grown = []
        for product_id, known in self._shown.items():
            candles = self._market.day_series(product_id).candles
            new = [one for one in candles if known is None or (one.start >= known.start and one != known)]
            if new:
                self._shown[product_id] = new[-1]
                grown += [views.candle(one, product_id) for one in new]
        return [[{"type": "update", "candles": grown}]] if grown else []


class MarketTrades(OfProducts[int]):
    """Remembers when the newest trade was that the client has seen."""

    sends_as, every = "market_trades", 1

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        self._shown |= dict.fromkeys(product_ids, -1)
        return [[{"type": "snapshot", "trades": self._newer(product_ids, now_us)}]]

    def update(self, now_us: int) -> Messages:
        newer = self._newer(self.subscribed(), now_us)
        return [[{"type": "update", "trades": newer}]] if newer else []

    def _newer(self, product_ids: Sequence[str], now_us: int) -> list[Json]:
        shown = []
        for product_id in product_ids:
            trades = self._market.trades_since(product_id, self._shown[product_id], now_us)
            if trades:
                self._shown[product_id] = trades[-1].at_us
                shown += [views.trade(one, product_id) for one in trades]
        return shown


_Book = dict[tuple[str, Decimal], Decimal]


class Level2(OfProducts[_Book]):
    """Every level of the book once, then what of it has changed: a level that is gone has the size 0."""

    sends_as, every = "l2_data", 1

    def start(self, product_ids: Sequence[str], now_us: int) -> Messages:
        messages = []
        for product_id in product_ids:
            book = self._shown[product_id] = self._book(product_id, now_us)
            messages.append([views.book("snapshot", product_id, _moves({}, book, now_us))])
        return messages

    def update(self, now_us: int) -> Messages:
        messages = []
        for product_id, known in self._shown.items():
            book = self._book(product_id, now_us)
            moves = _moves(known, book, now_us)
            if moves:
                self._shown[product_id] = book
                messages.append([views.book("update", product_id, moves)])
        return messages

    def _book(self, product_id: str, now_us: int) -> _Book:
        """Empty while there is no price: nothing can be traded then."""
        sides = (("bid", "SELL"), ("offer", "BUY"))
        return {
            (name, level.price): level.size
            for name, taken_by in sides
            for level in self._market.levels(product_id, taken_by, now_us)
        }


def _moves(before: _Book, after: _Book, now_us: int) -> list[Json]:
    gone = [views.level(side, price, ZERO, now_us) for side, price in before if (side, price) not in after]
    new = [
        views.level(side, price, size, now_us)
        for (side, price), size in after.items()
        if before.get((side, price)) != size
    ]
    return gone + new
