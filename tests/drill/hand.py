"""Somebody else with a key of the same account: trades by hand and holds coins, by the exchange's own official client.

It goes to the exchange directly, and it is what the exchange's side of the history is read with: nothing of the mesh's
own client is used here.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import requests
from coinbase.rest import RESTClient
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.drill.history import ExchangeFill, ExchangeOrder, ExchangeSide

_SECONDS = 20
_PAGE = 250
# Far enough above the market never to fill, near enough to be taken.
_FAR = Decimal("1.4")


@dataclass(frozen=True, slots=True)
class HandKey:
    """An API key; `known` is the line by which the exchange knows it."""

    name: str
    secret: str
    known: dict[str, object]


def new_key(name: str) -> HandKey:
    """A P-256 key that may view and trade."""
    private = ec.generate_private_key(ec.SECP256R1())
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    scopes = {"can_view": True, "can_trade": True, "can_transfer": False}
    return HandKey(name, secret, {"name": name, "public_key": public, **scopes})


class HandTrader:
    """One per world. Its orders are known by their client ids; the client blocks, so it works in a thread."""

    def __init__(self, host: str, ca: Path, key: HandKey) -> None:
        self._host, self._ca, self._key = host, ca, key
        self._made: RESTClient | None = None
        self._turn = asyncio.Lock()
        self.client_order_ids: set[str] = set()
        # Whether there may be fills that are not booked yet.
        self.traded = False

    async def answers(self) -> bool:
        """Whether the exchange answers now."""
        try:
            await self._call(lambda client: client.get_unix_time())
        except (requests.RequestException, OSError):
            return False
        return True

    async def about(self, product: str) -> Any:
        """The exchange's rules and price of a product."""
        return await self._call(lambda client: client.get_product(product))

    async def buy(self, product: str, quote: Decimal) -> bool:
        """A market BUY; False if the exchange did not take it."""
        name = self._new_id()
        return await self._order(lambda client: client.market_order_buy(name, product, quote_size=f"{quote:f}"))

    async def sell(self, product: str, share: Decimal) -> bool:
        """A market SELL of a share of what is free; False if there is too little, or the exchange did not take it."""
        size = await self._part(product, share)
        name = self._new_id()
        return size > 0 and await self._order(
            lambda client: client.market_order_sell(name, product, base_size=f"{size:f}")
        )

    async def hold(self, product: str, share: Decimal) -> str | None:
        """A resting sale of a share of what is free; its exchange order id, None if it was not taken."""
        size = await self._part(product, share)
        if size <= 0:
            return None
        name = self._new_id()

        def place(client: Any) -> Any:
            about = client.get_product(product)
            tick = Decimal(about.price_increment)
            price = (Decimal(about.price) * _FAR / tick).to_integral_value(ROUND_FLOOR) * tick
            return client.limit_order_gtc_sell(name, product, f"{size:f}", f"{price:f}")

        try:
            reply = await self._call(place)
        except (requests.RequestException, OSError):
            return None
        return str(reply.success_response["order_id"]) if reply.success else None

    async def release(self, order_id: str) -> None:
        """Ends a resting sale."""
        await self._call(lambda client: client.cancel_orders([order_id]))

    async def exchange_side(self) -> ExchangeSide:
        """Everything the exchange has, by its own word: orders and fills oldest first, totals by currency."""

        def read(client: Any) -> ExchangeSide:
            orders = [row for page in _pages(client.list_orders, "orders") for row in page]
            fills = [row for page in _pages(client.get_fills, "fills") for row in page]
            accounts = client.get_accounts(limit=_PAGE).accounts
            totals = {one.currency: _number(one.available_balance) + _number(one.hold) for one in accounts}
            return ExchangeSide(
                orders=tuple(_order(row) for row in reversed(orders)),
                fills=tuple(_fill(row) for row in reversed(fills)),
                totals=totals,
                foreign=frozenset(self.client_order_ids),
            )

        return await self._call(read)

    async def _part(self, product: str, share: Decimal) -> Decimal:
        """A share of the free balance on the product's grid; 0 where it would be refused as too small."""
        base = product.partition("-")[0]

        def read(client: Any) -> Decimal:
            about = client.get_product(product)
            accounts = client.get_accounts(limit=_PAGE).accounts
            free = sum((_number(one.available_balance) for one in accounts if one.currency == base), Decimal(0))
            step = Decimal(about.base_increment)
            size = (free * share / step).to_integral_value(ROUND_FLOOR) * step
            enough = size >= Decimal(about.base_min_size) and size * Decimal(about.price) > Decimal(
                about.quote_min_size
            )
            return size if enough else Decimal(0)

        try:
            return await self._call(read)
        except (requests.RequestException, OSError):
            return Decimal(0)

    def _new_id(self) -> str:
        name = f"hand-{uuid.uuid4()}"
        self.client_order_ids.add(name)
        return name

    async def _order(self, place: Any) -> bool:
        self.traded = True
        try:
            return bool((await self._call(place)).success)
        except (requests.RequestException, OSError):
            return False

    async def _call(self, work: Any) -> Any:
        async with self._turn:
            return await asyncio.to_thread(lambda: work(self._client()))

    def _client(self) -> RESTClient:
        if self._made is None:
            key = self._key
            client = RESTClient(api_key=key.name, api_secret=key.secret, base_url=self._host, timeout=_SECONDS)
            client.session.trust_env, client.session.verify = False, str(self._ca)
            self._made = client
        return self._made


def _pages(read: Any, name: str) -> Any:
    cursor = None
    while True:
        page = read(limit=_PAGE, cursor=cursor)
        yield getattr(page, name) or []
        cursor = page["cursor"]
        if not cursor:
            return


def _number(money: Any) -> Decimal:
    return Decimal(money["value"])


def _order(row: Any) -> ExchangeOrder:
    return ExchangeOrder(
        order_id=row.order_id,
        client_order_id=row.client_order_id,
        product=row.product_id,
        side=row.side,
        status=row.status,
        filled_size=Decimal(row.filled_size),
    )


def _fill(row: Any) -> ExchangeFill:
    return ExchangeFill(
        fill_id=row["entry_id"],
        order_id=row["order_id"],
        product=row["product_id"],
        side=row["side"],
        size=Decimal(row["size"]),
        value=Decimal(row["size"]) * Decimal(row["price"]),
        fee=Decimal(row["commission"]),
    )
