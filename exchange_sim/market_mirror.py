"""The paper market: public Coinbase prices, polled, for simulated money.

It fails closed: a price older than a few polls is no price, so orders are refused until the
source answers again. Candles are passed through as the source gives them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from exchange_sim.market import GRANULARITIES, Candle, DayStatistics, Level, MarketUnavailable, Quote, Trade
from exchange_sim.numbers import ZERO, parse_number
from exchange_sim.products import Product
from exchange_sim.times import SECOND_US, parse_iso

_PREFIX = "/api/v3/brokerage/market/products"
_PUBLIC_REQUESTS_PER_SECOND = 4
_RULES_EVERY_SECONDS = 60.0
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_NAMES = {seconds: name for name, seconds in GRANULARITIES.items()}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorPace:
    """How often prices are asked for, and how old one may be and still count."""

    poll_seconds: float
    oldest_seconds: float


def pace_for(product_count: int) -> MirrorPace:
    poll = max(2.0, product_count / _PUBLIC_REQUESTS_PER_SECOND)
    return MirrorPace(poll, 4 * poll + _TIMEOUT.total if _TIMEOUT.total else 4 * poll)


@dataclass(frozen=True, slots=True)
class _Seen:
    quote: Quote
    trade: Trade


class MirrorMarket:
    label = "PAPER"
    follows_wall_clock = True
    first_bar_us = None
    last_bar_us = None
    end_us = None

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        product_ids: Sequence[str],
        pace: MirrorPace,
        wall_clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._ids = tuple(product_ids)
        self._pace = pace
        self._wall_clock = wall_clock
        self._products: dict[str, Product] = {}
        self._days: dict[str, DayStatistics] = {}
        self._seen: dict[str, _Seen] = {}

    async def start(self) -> None:
        """Loads the products' rules and a first price; MarketUnavailable when the source is out."""
        await self._refresh_rules()
        await self._refresh_prices()

    async def run(self) -> None:
        """Polls until cancelled; what fails is logged and simply grows old."""
        rules_age = 0.0
        while True:
            await asyncio.sleep(self._pace.poll_seconds)
            rules_age += self._pace.poll_seconds
            await self._refresh_prices()
            if rules_age >= _RULES_EVERY_SECONDS:
                rules_age = 0.0
                try:
                    await self._refresh_rules()
                except MarketUnavailable as error:
                    log.warning("product rules not refreshed: %s", error)

    def products(self) -> tuple[Product, ...]:
        return tuple(self._products.values())

    def product(self, product_id: str) -> Product | None:
        return self._products.get(product_id)

    def quote(self, product_id: str, at_us: int) -> Quote | None:
        seen = self._seen.get(product_id)
        oldest_us = int((self._wall_clock() - self._pace.oldest_seconds) * SECOND_US)
        return None if seen is None or seen.quote.at_us < oldest_us else seen.quote

    def levels(self, product_id: str, side: str, at_us: int) -> Iterator[Level]:
        """The best price alone: of what lies behind it nothing is asked."""
        quote, product = self.quote(product_id, at_us), self._products.get(product_id)
        if quote is not None and product is not None:
            yield Level(quote.ask if side == "BUY" else quote.bid, product.base_max_size)

    def first_touch(self, product_id: str, side: str, limit: Decimal, after_us: int, upto_us: int) -> int | None:
        quote = self.quote(product_id, upto_us)
        if quote is None:
            return None
        hit = quote.ask <= limit if side == "BUY" else quote.bid >= limit
        return min(max(after_us, quote.at_us), upto_us) if hit else None

    def first_reach(self, product_id: str, price: Decimal, rising: bool, after_us: int, upto_us: int) -> int | None:
        quote = self.quote(product_id, upto_us)
        if quote is None:
            return None
        hit = quote.last >= price if rising else quote.last <= price
        return min(max(after_us, quote.at_us), upto_us) if hit else None

    def trades(self, product_id: str, count: int, at_us: int) -> list[Trade]:
        seen = self._seen.get(product_id)
        return [] if seen is None else [seen.trade][:count]

    def day(self, product_id: str, at_us: int) -> DayStatistics:
        return self._days.get(product_id, DayStatistics(ZERO, ZERO))

    async def candles(self, product_id: str, granularity: int, start: int, end: int, at_us: int) -> list[Candle]:
        query = {"start": str(start), "end": str(end), "granularity": _NAMES[granularity]}
        body = await self._get(f"{_PREFIX}/{product_id}/candles", query)
        try:
            found = [_candle(row) for row in body["candles"]]
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise MarketUnavailable("the source's candles cannot be read") from error
        return sorted((c for c in found if start <= c.start <= end), key=lambda candle: candle.start)

    async def _refresh_rules(self) -> None:
        body = await self._get(_PREFIX, [("product_ids", product_id) for product_id in self._ids])
        try:
            rows = {row["product_id"]: row for row in body["products"]}
            self._products = {product_id: _product(rows[product_id]) for product_id in self._ids}
            self._days = {product_id: _day(rows[product_id]) for product_id in self._ids}
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise MarketUnavailable(f"the source's products cannot be read: {error!r}") from error

    async def _refresh_prices(self) -> None:
        async with asyncio.TaskGroup() as group:
            for product_id in self._ids:
                group.create_task(self._refresh_price(product_id))

    async def _refresh_price(self, product_id: str) -> None:
        try:
            body = await self._get(f"{_PREFIX}/{product_id}/ticker", {"limit": "1"})
            self._seen[product_id] = _seen(body, int(self._wall_clock() * SECOND_US))
        except (MarketUnavailable, KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            log.warning("no new price of %s: %r", product_id, error)

    async def _get(self, path: str, query: Mapping[str, str] | list[tuple[str, str]]) -> Any:
        headers = {"Cache-Control": "no-cache"}
        try:
            async with self._session.get(self._url + path, params=query, headers=headers, timeout=_TIMEOUT) as reply:
                if reply.status != 200:
                    raise MarketUnavailable(f"{path}: HTTP {reply.status}")
                return await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise MarketUnavailable(f"{path}: {error!r}") from error


def _number(row: Mapping[str, Any], name: str) -> Decimal:
    number = parse_number(row[name])
    if number is None:
        raise ValueError(f"{name} is not a number: {row[name]!r}")
    return number


def _candle(row: Mapping[str, Any]) -> Candle:
    values = [_number(row, name) for name in ("open", "high", "low", "close", "volume")]
    return Candle(int(row["start"]), values[0], values[1], values[2], values[3], values[4])


def _seen(body: Mapping[str, Any], at_us: int) -> _Seen:
    newest = body["trades"][0]
    last, bid, ask = _number(newest, "price"), _number(body, "best_bid"), _number(body, "best_ask")
    if min(last, bid, ask) <= 0 or bid > ask:
        raise ValueError(f"implausible prices: {last} {bid} {ask}")
    side = str(newest["side"])
    trade = Trade(str(newest["trade_id"]), last, _number(newest, "size"), side, parse_iso(newest["time"]))
    return _Seen(Quote(last, bid, ask, at_us), trade)


def _product(row: Mapping[str, Any]) -> Product:
    return Product(
        product_id=str(row["product_id"]),
        price_increment=_number(row, "price_increment"),
        base_increment=_number(row, "base_increment"),
        quote_increment=_number(row, "quote_increment"),
        base_min_size=_number(row, "base_min_size"),
        base_max_size=_number(row, "base_max_size"),
        quote_min_size=_number(row, "quote_min_size"),
        quote_max_size=_number(row, "quote_max_size"),
        base_name=str(row.get("base_name", "")),
        status=str(row["status"]),
        trading_disabled=row["trading_disabled"] is True,
        is_disabled=row["is_disabled"] is True,
        cancel_only=row["cancel_only"] is True,
        limit_only=row["limit_only"] is True,
        post_only=row["post_only"] is True,
        view_only=row["view_only"] is True,
        auction_mode=row["auction_mode"] is True,
    )


def _day(row: Mapping[str, Any]) -> DayStatistics:
    percent = Decimal(row.get("price_percentage_change_24h") or "0")
    volume = parse_number(row.get("volume_24h") or "0")
    return DayStatistics(volume or ZERO, percent / 100)
