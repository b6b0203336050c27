"""The exchange as the rest of the mesh sees it: typed reads with bounded retries, orders sent once per call.

Reads may be repeated, so they are (429, 5xx, transport; doubling delay with jitter). A POST is never repeated in here:
whether an order may be sent again is a decision of whoever wrote the order down.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from exchange_client.coinbase import order_body, replies
from exchange_client.coinbase.bad_reply import BadReply
from exchange_client.coinbase.create_reply import create_outcome
from exchange_client.coinbase.credentials import Signer, load_key
from exchange_client.coinbase.feed import CoinbaseFeeds, has_feeds
from exchange_client.coinbase.replies import Json
from exchange_client.coinbase.settings import LIVE_HOST, SANDBOX_HOST, TOKEN_SECONDS
from exchange_client.coinbase.transport import NoAnswer, Query, Reply, RequestNotSent, Send, Transport
from exchange_client.config import ExchangeConfig
from exchange_client.errors import ExchangeRefused, ExchangeUnavailable
from exchange_client.models import (
    Account,
    CreateOutcome,
    ExchangeFill,
    ExchangeOrder,
    ExchangeProduct,
    FeeRates,
    KeyPermissions,
    NotSent,
    OrderPreview,
    OrderTerms,
    Portfolio,
    RawCandle,
    SameTerms,
    Touch,
    Unknown,
)
from meshkit.backoff import Backoff
from meshkit.hosts import parse_host
from tradekit.bars import GRANULARITY_NAMES, unix
from tradekit.units import Price, ProductId

T = TypeVar("T")
OfOrder = TypeVar("OfOrder", bound=ExchangeOrder | ExchangeFill)
PREFIX = "/api/v3/brokerage"
# One request may ask for 350 buckets by one report and for 300 by another.
LARGEST_PAGE = 300
_READ_ATTEMPTS = 4
_BACKOFF_LOW, _BACKOFF_HIGH = 0.1, 2.0
_PAGE = "250"
_MOST_PAGES, _MOST_EMPTY_PAGES = 1000, 3
_WITHOUT_HAS_NEXT = frozenset({"fills"})
# Ids named in one request; more would make the address too long for some servers.
_IDS_PER_REQUEST = 50


class CoinbaseClient:
    """An `exchange_client.exchange.Exchange`; one per process. `wall_seconds` stamps tokens, `random_source` jitters delays."""

    def __init__(
        self,
        config: ExchangeConfig,
        *,
        wall_seconds: Callable[[], float] = time.time,
        random_source: random.Random | None = None,
    ) -> None:
        key = load_key(config.key_file) if config.key_file is not None else None
        life_seconds = min(config.token_seconds or TOKEN_SECONDS, TOKEN_SECONDS)
        signer = Signer(key, config.host, wall_seconds, life_seconds) if key is not None else None
        self.host = config.host
        self._config, self._signer = config, signer
        self._wall_seconds = wall_seconds
        self._transport = Transport(config, signer)
        # The sandbox has canned accounts and orders and nothing else: products, candles and the time are the real ones.
        canned = parse_host(config.host) == SANDBOX_HOST
        self._market = Transport(replace(config, host=str(LIVE_HOST)), None) if canned else self._transport
        self._random = random_source or random.Random()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Reads certificates; the first request connects. Misconfigured."""
        self._transport.open()
        self._market.open()

    async def close(self) -> None:
        await self._transport.close()
        await self._market.close()

    def feeds(self, silent_seconds: float) -> CoinbaseFeeds | None:
        """Its WebSocket, which the sandbox does not have. Misconfigured."""
        if not has_feeds(self.host):
            return None
        return CoinbaseFeeds(self._config, self._signer, silent_seconds)

    # ---- public ------------------------------------------------------------------------------------------------------

    async def market_time(self) -> datetime:
        """The exchange's time: wall time live, the market's time in a simulation."""
        return await self._read("/time", (), replies.market_time, public=True)

    async def products(self, product_ids: Iterable[str]) -> tuple[ExchangeProduct, ...]:
        """Rules and state of the named products; one the exchange does not know is absent."""
        wanted = list(product_ids)
        query = [("product_type", "SPOT"), *(("product_ids", one) for one in wanted)]

        def parse(reply: Json) -> tuple[ExchangeProduct, ...]:
            found = (row for row in replies.rows(reply, "products") if replies.text(row, "product_id") in wanted)
            return tuple(replies.product(row) for row in found)

        return await self._read("/market/products", query, parse, public=True) if wanted else ()

    async def candles(
        self, product_id: str, granularity_seconds: int, start: datetime, end: datetime
    ) -> tuple[RawCandle, ...]:
        """Buckets that open in [start, end), oldest first; the newest may be unfinished. As many requests as they take."""
        first, last = unix(start), unix(end)
        if last < first:
            raise ValueError(f"candles from {start} to {end} end before they begin")
        page = LARGEST_PAGE * granularity_seconds
        found = [
            await self._candles(product_id, granularity_seconds, begin, min(begin + page, last))
            for begin in range(first, max(last, first + 1), page)
        ]
        return tuple(candle for candles in found for candle in candles)

    async def _candles(self, product_id: str, granularity_seconds: int, first: int, last: int) -> tuple[RawCandle, ...]:
        query = [
            ("start", str(first)),
            # Were `end` inclusive, a full page would hold one bucket too many, and the limit would cut off the oldest.
            ("end", str(max(last - 1, first))),
            ("granularity", GRANULARITY_NAMES[granularity_seconds]),
            ("limit", str(LARGEST_PAGE)),
        ]

        def parse(reply: Json) -> tuple[RawCandle, ...]:
            # Whether `end` is inclusive is not documented, so the page is cut here.
            found = (replies.candle(row) for row in replies.rows(reply, "candles"))
            unique = {one.start: one for one in found if first <= unix(one.start) < last}
            return tuple(unique[key] for key in sorted(unique))

        return await self._read(f"/market/products/{product_id}/candles", query, parse, public=True)

    # ---- private reads -----------------------------------------------------------------------------------------------

    async def accounts(self) -> tuple[Account, ...]:
        """Every wallet, one per currency name as the exchange lists them."""
        query = [("limit", _PAGE)]
        return tuple((await self._pages("/accounts", query, "accounts", "uuid", replies.account)).values())

    async def best_bids(self, product_ids: Iterable[str]) -> dict[ProductId, Price]:
        """The best price that somebody bids for each product; one without a bid is absent."""
        wanted = list(product_ids)
        query = [("product_ids", one) for one in wanted]

        def parse(reply: Json) -> dict[ProductId, Price]:
            found = dict(filter(None, map(replies.best_bid, replies.rows(reply, "pricebooks"))))
            return {name: price for name, price in found.items() if name in wanted}

        return await self._read("/best_bid_ask", query, parse) if wanted else {}

    async def touch(self, product_id: str) -> Touch | None:
        """The best bid of one product with the time of its book; None where nobody bids."""

        def parse(reply: Json) -> Touch | None:
            books = replies.rows(reply, "pricebooks")
            return next((replies.touch(one) for one in books if one.get("product_id") == product_id), None)

        return await self._read("/best_bid_ask", [("product_ids", product_id)], parse)

    async def order(self, exchange_order_id: str) -> ExchangeOrder | None:
        """The order, or None where the exchange does not (yet) show it."""
        try:
            return await self._read(f"/orders/historical/{exchange_order_id}", (), _one_order)
        except ExchangeRefused as error:
            if error.missing:
                return None
            raise

    async def orders_by_id(self, exchange_order_ids: Iterable[str]) -> tuple[ExchangeOrder, ...]:
        """Those of these orders that the exchange's list shows."""
        path = "/orders/historical/batch"
        return tuple((await self._of_orders(path, exchange_order_ids, "orders", "order_id", replies.order)).values())

    async def orders(
        self, start: datetime | None, end: datetime | None = None, product_id: str | None = None
    ) -> tuple[ExchangeOrder, ...]:
        """Orders created in [start, end) by the exchange's time, None for no bound; it has no filter by client_order_id."""
        query = [("limit", _PAGE)]
        query += [("start_date", _rfc3339(start))] if start is not None else []
        query += [("end_date", _rfc3339(end))] if end is not None else []
        query += [("product_ids", product_id)] if product_id is not None else []
        found = await self._pages("/orders/historical/batch", query, "orders", "order_id", replies.order)
        return tuple(found.values())

    async def fills(self, exchange_order_ids: Iterable[str]) -> tuple[ExchangeFill, ...]:
        """All fills of these orders, each once."""
        path = "/orders/historical/fills"
        return tuple((await self._of_orders(path, exchange_order_ids, "fills", "entry_id", replies.fill)).values())

    async def resting_orders(self) -> tuple[ExchangeOrder, ...]:
        """Every order of the account that rests on the exchange, whoever made it."""
        query = [("order_status", "OPEN"), ("limit", _PAGE)]
        found = await self._pages("/orders/historical/batch", query, "orders", "order_id", replies.order)
        return tuple(one for one in found.values() if not one.terminal)

    async def fill_pages(self, start: datetime) -> AsyncIterator[Sequence[ExchangeFill]]:
        """Every fill of the account from `start` on by the exchange's time, whoever made its order, a page at a time."""
        query = [("start_sequence_timestamp", _rfc3339(start)), ("limit", _PAGE)]
        async for page in self._each_page("/orders/historical/fills", query, "fills", "entry_id", replies.fill):
            yield tuple(page.values())

    async def key_permissions(self) -> KeyPermissions:
        return await self._read("/key_permissions", (), replies.key_permissions)

    async def portfolios(self) -> tuple[Portfolio, ...]:
        """The portfolios that the key is shown."""

        def parse(reply: Json) -> tuple[Portfolio, ...]:
            return tuple(replies.portfolio(row) for row in replies.rows(reply, "portfolios"))

        return await self._read("/portfolios", (), parse)

    async def fee_rates(self) -> FeeRates:
        return await self._read("/transaction_summary", [("product_type", "SPOT")], replies.fee_rates)

    # ---- orders ------------------------------------------------------------------------------------------------------

    def body_of(self, terms: OrderTerms) -> str:
        """The body of POST /orders."""
        return order_body.body_of(terms)

    def same_terms(self, terms: OrderTerms, found: ExchangeOrder) -> SameTerms:
        """See `exchange_client.coinbase.order_body`."""
        return order_body.same_terms(terms, found)

    async def preview_order(self, terms: OrderTerms) -> OrderPreview:
        """What this order would do now, by POST /orders/preview, which takes no id and makes no order."""
        return await self._post("/orders/preview", order_body.preview_body_of(terms).encode(), replies.order_preview)

    def wall_seconds(self) -> float:
        """The clock that stamps tokens."""
        return self._wall_seconds()

    async def create_order(
        self, body: bytes, permit: Callable[[], bool] = lambda: True, born: float | None = None
    ) -> CreateOutcome:
        """Sends these bytes once and says what is proven by what came back.

        `permit` is asked at the last moment before bytes leave, for each request. `born` is the `wall_seconds` at which the
        send was decided: no token of it lives longer than a token's life after that.
        """
        send = Send(body, permit, self._wall_seconds() if born is None else born)
        try:
            reply = await self._transport.private("POST", f"{PREFIX}/orders", send=send)
        except RequestNotSent as error:
            return NotSent(str(error))
        except NoAnswer as error:
            return Unknown(str(error))
        return create_outcome(reply)

    async def cancel_orders(self, exchange_order_ids: Iterable[str]) -> dict[str, str]:
        """Asks the exchange to cancel; gives its words for each order it refused to. A cancel only begins here: whether an
        order ended, and what it filled, the order itself tells. ExchangeUnavailable, ExchangeRefused."""
        refused: dict[str, str] = {}
        for named in _portions(exchange_order_ids):
            body = json.dumps({"order_ids": named}).encode()
            told = await self._post("/orders/batch_cancel", body, replies.cancel_refusals)
            refused |= {name: why for name, why in told.items() if name in named}
        return refused

    # ---- machinery ---------------------------------------------------------------------------------------------------

    async def _post(self, path: str, body: bytes, parse: Callable[[Json], T]) -> T:
        """One request that makes no order, and what its answer says. ExchangeUnavailable, ExchangeRefused."""
        send = Send(body, lambda: True, self._wall_seconds())
        try:
            reply = await self._transport.private("POST", f"{PREFIX}{path}", send=send)
            if reply.status == 200:
                return parse(replies.read_reply(reply))
        except (RequestNotSent, NoAnswer, BadReply) as error:
            raise ExchangeUnavailable(path, str(error)) from error
        if _turned_away(reply):
            raise _refused(path, reply)
        raise ExchangeUnavailable(path, f"HTTP {reply.status}")

    async def _of_orders(
        self, path: str, order_ids: Iterable[str], name: str, key: str, row: Callable[[Json], OfOrder]
    ) -> dict[str, OfOrder]:
        """Every row of a list that is of one of the orders, by its key."""
        found: dict[str, OfOrder] = {}
        for named in _portions(order_ids):
            query = [("limit", _PAGE), *(("order_ids", one) for one in named)]
            page = await self._pages(path, query, name, key, row)
            found.update((row_key, one) for row_key, one in page.items() if one.order_id in named)
        return found

    async def _pages(self, path: str, query: Query, name: str, key: str, row: Callable[[Json], T]) -> dict[str, T]:
        """Every row of a list once, by its key."""
        found: dict[str, T] = {}
        async for page in self._each_page(path, query, name, key, row):
            found.update(page)
        return found

    async def _each_page(
        self, path: str, query: Query, name: str, key: str, row: Callable[[Json], T]
    ) -> AsyncIterator[dict[str, T]]:
        """The rows of a list by their keys, a page at a time. A list that cannot be complete is no list: ExchangeUnavailable.

        What a list lacks is believed of an order, so a cursor that repeats itself, or pages of nothing that go on, are
        faults and not the end.
        """
        seen: set[str] = set()
        cursor, empty = "", 0
        for _ in range(_MOST_PAGES):
            page_query = [*query, ("cursor", cursor)] if cursor else query
            rows, cursor = await self._read(path, page_query, lambda reply: _page(reply, name, key, row))
            yield dict(rows)
            if not cursor:
                return
            empty = 0 if rows else empty + 1
            if cursor in seen or empty > _MOST_EMPTY_PAGES:
                raise ExchangeUnavailable(path, "its pages do not end")
            seen.add(cursor)
        raise ExchangeUnavailable(path, f"more than {_MOST_PAGES} pages")

    async def _read(self, path: str, query: Query, parse: Callable[[Json], T], *, public: bool = False) -> T:
        backoff = Backoff(_BACKOFF_LOW, _BACKOFF_HIGH, self._random)
        why = ""
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                await asyncio.sleep(backoff.next_seconds())
            try:
                reply = await self._get(path, query, public)
                if reply.status == 200:
                    return parse(replies.read_reply(reply))
            except (RequestNotSent, NoAnswer, BadReply) as error:
                why = str(error)
                continue
            if _turned_away(reply):
                raise _refused(path, reply)
            why = f"HTTP {reply.status}"
        raise ExchangeUnavailable(path, why)

    async def _get(self, path: str, query: Query, public: bool) -> Reply:
        if public:
            return await self._market.public(f"{PREFIX}{path}", query)
        return await self._transport.private("GET", f"{PREFIX}{path}", query)


def _portions(order_ids: Iterable[str]) -> Iterator[list[str]]:
    """Each id once, as many at a time as one request names."""
    wanted = list(dict.fromkeys(order_ids))
    for begin in range(0, len(wanted), _IDS_PER_REQUEST):
        yield wanted[begin : begin + _IDS_PER_REQUEST]


def _page(reply: Json, name: str, key: str, row: Callable[[Json], T]) -> tuple[Sequence[tuple[str, T]], str]:
    """Rows by key and the next cursor, empty on the last page; BadReply where the page does not say which it is."""
    found = [(replies.identifier(one, key), row(one)) for one in replies.rows(reply, name)]
    more, cursor = reply.get("has_next"), reply.get("cursor")
    if more is False:
        return found, ""
    # A list without `has_next` ends where its cursor is empty; one that says that it goes on must say where.
    goes_on = more is True and bool(cursor)
    if not isinstance(cursor, str) or not (goes_on or (more is None and name in _WITHOUT_HAS_NEXT)):
        raise BadReply("neither a cursor nor the end of the list")
    return found, cursor


def _turned_away(reply: Reply) -> bool:
    """Whether somebody must act before the same request can fare better."""
    return 400 <= reply.status < 500 and reply.status not in (408, 429)


def _refused(path: str, reply: Reply) -> ExchangeRefused:
    words = reply.body[:200].decode("utf-8", "replace")
    return ExchangeRefused(path, f"{reply.status}: {words}", missing=reply.status == 404)


def _one_order(reply: Json) -> ExchangeOrder:
    content: Any = reply.get("order")
    if not isinstance(content, dict):
        raise BadReply("order is missing")
    return replies.order(content)


def _rfc3339(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
