"""Market data over HTTP: time, products, candles, trades and order books.

The public paths and their authenticated twins are the same handlers.
"""

from itertools import islice

from aiohttp import web

from exchange_sim import views
from exchange_sim.exchange import Exchange
from exchange_sim.habits import is_chosen
from exchange_sim.market import GRANULARITIES, Quote
from exchange_sim.numbers import plain
from exchange_sim.products import Product
from exchange_sim.queries import whole
from exchange_sim.times import SECOND_US, iso
from exchange_sim.web import HttpError, invalid_argument, not_found, reply

MOST_CANDLES = 350
_MOST_TRADES = 100
_MOST_LEVELS = 1000
_FARTHEST_SECONDS = 253_402_300_799  # the last second of the year 9999


class MarketRoutes:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._market = exchange.market

    def public(self, prefix: str) -> list[web.RouteDef]:
        return [web.get(f"{prefix}/time", self.time), *self._shared(f"{prefix}/market")]

    def authenticated(self, prefix: str) -> list[web.RouteDef]:
        return [*self._shared(prefix), web.get(f"{prefix}/best_bid_ask", self.best_bid_ask)]

    def _shared(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.get(f"{prefix}/products", self.products),
            web.get(f"{prefix}/products/{{product_id}}", self.product),
            web.get(f"{prefix}/products/{{product_id}}/candles", self.candles),
            web.get(f"{prefix}/products/{{product_id}}/ticker", self.ticker),
            web.get(f"{prefix}/product_book", self.product_book),
        ]

    async def time(self, _: web.Request) -> web.Response:
        now_us = self._exchange.told_us
        seconds = str(now_us // SECOND_US)
        return reply({"iso": iso(now_us), "epochSeconds": seconds, "epochMillis": str(now_us // 1000)})

    async def products(self, request: web.Request) -> web.Response:
        wanted = set(request.query.getall("product_ids", []))
        found = [one for one in self._market.products() if not wanted or one.product_id in wanted]
        if request.query.get("product_type", "SPOT") not in ("SPOT", "UNKNOWN_PRODUCT_TYPE"):
            found = []
        offset = whole(request, "offset", 0, 0, len(found))
        page = found[offset : offset + whole(request, "limit", 250, 1, 250)]
        return reply({"products": [self._view(one) for one in page], "num_products": len(page)})

    async def product(self, request: web.Request) -> web.Response:
        return reply(self._view(self._product(request.match_info["product_id"])))

    async def candles(self, request: web.Request) -> web.Response:
        product = self._product(request.match_info["product_id"])
        granularity = GRANULARITIES.get(request.query.get("granularity", ""))
        if granularity is None:
            raise invalid_argument("granularity is missing or unknown")
        start = whole(request, "start", -1, 0, _FARTHEST_SECONDS)
        end = whole(request, "end", -1, 0, _FARTHEST_SECONDS)
        if start < 0 or end < start:
            raise invalid_argument("start and end are required, start first")
        if (end - start) // granularity > MOST_CANDLES:
            raise invalid_argument(f"number of candles requested should be less than {MOST_CANDLES}")
        # Both ends of 350 intervals are bars, so there may be one more.
        limit = whole(request, "limit", MOST_CANDLES + 1, 1, MOST_CANDLES + 1)
        found = await self._market.candles(product.product_id, granularity, start, end, self._exchange.now_us)
        share = self._exchange.habits.quiet_share
        told = [one for one in found if not is_chosen(share, f"quiet/{product.product_id}/{granularity}/{one.start}")]
        newest_first = told[::-1][:limit]
        return reply({"candles": [views.candle(one) for one in newest_first]})

    async def ticker(self, request: web.Request) -> web.Response:
        product = self._product(request.match_info["product_id"])
        count = whole(request, "limit", _MOST_TRADES, 1, _MOST_TRADES)
        quote, now_us = self._quote(product), self._exchange.now_us
        start = whole(request, "start", 0, 0, _FARTHEST_SECONDS)
        end = whole(request, "end", _FARTHEST_SECONDS, 0, _FARTHEST_SECONDS)
        if end < start:
            raise invalid_argument("start must not be after end")
        newest_us = min(now_us, end * SECOND_US)
        found = self._market.trades(product.product_id, count, newest_us)
        trades = [one for one in found if start * SECOND_US <= one.at_us <= newest_us]
        return reply(
            {
                "trades": [views.trade(one, product.product_id) for one in trades],
                "best_bid": plain(quote.bid),
                "best_ask": plain(quote.ask),
            }
        )

    async def product_book(self, request: web.Request) -> web.Response:
        product = self._product(request.query.get("product_id", ""))
        quote = self._quote(product)
        limit = whole(request, "limit", _MOST_LEVELS, 1, _MOST_LEVELS)
        return reply(views.product_book(quote, self._book(product, quote, limit)))

    async def best_bid_ask(self, request: web.Request) -> web.Response:
        wanted = request.query.getall("product_ids", [])
        products = [self._product(one) for one in wanted] if wanted else self._market.products()
        now_us = self._exchange.now_us
        quotes = [(one, self._market.quote(one.product_id, now_us)) for one in products]
        return reply({"pricebooks": [self._book(one, quote, 1) for one, quote in quotes if quote]})

    def _book(self, product: Product, quote: Quote, limit: int) -> views.Json:
        bids, asks = (
            islice(self._market.levels(product.product_id, side, self._exchange.now_us), limit)
            for side in ("SELL", "BUY")
        )
        return views.price_book(product, quote, bids, asks)

    def _product(self, product_id: str) -> Product:
        product = self._market.product(product_id)
        if product is None:
            raise not_found(f"Product {product_id} not supported")
        return product

    def _quote(self, product: Product) -> Quote:
        quote = self._market.quote(product.product_id, self._exchange.now_us)
        if quote is None:
            raise HttpError(503, "UNAVAILABLE", f"no current price for {product.product_id}")
        return quote

    def _view(self, product: Product) -> views.Json:
        now_us = self._exchange.now_us
        quote = self._market.quote(product.product_id, now_us)
        others = [
            one.product_id
            for one in self._market.products()
            if one.market_id == product.market_id and one.product_id != product.product_id
        ]
        return views.product(product, quote, self._market.day(product.product_id, now_us), others)
