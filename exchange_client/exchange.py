"""What the mesh asks of an exchange. Each exchange is one adapter of this protocol; no service knows which one it has.

Reads raise `ExchangeUnavailable` (retry later) or `ExchangeRefused` (somebody must act), after the adapter's own bounded
retries. An adapter speaks the mesh's words: product ids are BASE-QUOTE, sides BUY and SELL, times aware and UTC, numbers
exact, and the states of an order those of `exchange_client.models`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from exchange_client.feed import Feeds
from exchange_client.models import (
    Account,
    CreateOutcome,
    ExchangeFill,
    ExchangeOrder,
    ExchangeProduct,
    FeeRates,
    KeyPermissions,
    OrderPreview,
    OrderTerms,
    Portfolio,
    RawCandle,
    SameTerms,
    Touch,
)
from tradekit.units import Price, ProductId


class MarketData(Protocol):
    """Public data: no key is needed."""

    async def market_time(self) -> datetime:
        """The exchange's time: wall time live, the market's time in a simulation."""

    async def products(self, product_ids: Iterable[str]) -> tuple[ExchangeProduct, ...]:
        """Rules and state of the named products; one that the exchange does not know is absent."""

    async def candles(
        self, product_id: str, granularity_seconds: int, start: datetime, end: datetime
    ) -> tuple[RawCandle, ...]:
        """Buckets that open in [start, end), oldest first; the newest may be unfinished, one without trades absent."""

    async def close(self) -> None:
        """Ends its connections."""


class Exchange(MarketData, Protocol):
    """Market data, the account, and orders."""

    async def open(self) -> None:
        """Reads what it is configured with; Misconfigured where that is not usable. The first request connects."""

    def feeds(self, silent_seconds: float) -> Feeds | None:
        """What it tells without being asked; None where it tells nothing. Misconfigured."""

    # ---- the account -------------------------------------------------------------------------------------------------

    async def key_permissions(self) -> KeyPermissions:
        """What the key may do; what the exchange does not say counts as the dangerous answer."""

    async def portfolios(self) -> tuple[Portfolio, ...]:
        """The portfolios that the key is shown."""

    async def fee_rates(self) -> FeeRates:
        """The account's present fees."""

    async def accounts(self) -> tuple[Account, ...]:
        """Every wallet; a currency may have several."""

    async def best_bids(self, product_ids: Iterable[str]) -> dict[ProductId, Price]:
        """The best price that somebody bids for each product, now; one without a bid is absent."""

    async def touch(self, product_id: str) -> Touch | None:
        """The best bid of one product, now; None where nobody bids."""

    async def order(self, exchange_order_id: str) -> ExchangeOrder | None:
        """The order, or None where the exchange does not (yet) show it."""

    async def orders_by_id(self, exchange_order_ids: Iterable[str]) -> tuple[ExchangeOrder, ...]:
        """Those of these orders that the exchange's list shows, in few requests. One that is absent may be there all the
        same: `order` tells."""

    async def orders(
        self, start: datetime | None, end: datetime | None = None, product_id: str | None = None
    ) -> tuple[ExchangeOrder, ...]:
        """Every order created in [start, end) by the exchange's time, None for no bound. Complete or ExchangeUnavailable:
        an order that is absent here is believed not to exist."""

    async def resting_orders(self) -> tuple[ExchangeOrder, ...]:
        """Every order of the account that rests on the exchange, whoever made it."""

    async def fills(self, exchange_order_ids: Iterable[str]) -> tuple[ExchangeFill, ...]:
        """All fills of these orders, each once."""

    def fill_pages(self, start: datetime) -> AsyncIterator[Sequence[ExchangeFill]]:
        """Every fill of the account from `start` on by the exchange's time, whoever made its order, a page at a time; a fill may
        be told twice. Complete at its end, or ExchangeUnavailable."""

    # ---- orders ------------------------------------------------------------------------------------------------------

    def body_of(self, terms: OrderTerms) -> str:
        """The request that makes this order, as text. It is stored with the order before the first send, and every
        send of the order is this text: the same terms always give the same bytes."""

    def same_terms(self, terms: OrderTerms, found: ExchangeOrder) -> SameTerms:
        """Whether the exchange's order is the one with these terms; the reply to a create does not prove it."""

    async def preview_order(self, terms: OrderTerms) -> OrderPreview:
        """What this order would do now, by the exchange; makes none. ExchangeUnavailable, ExchangeRefused."""

    def wall_seconds(self) -> float:
        """The wall clock that the life of a request is measured with, in seconds."""

    async def create_order(
        self, body: bytes, permit: Callable[[], bool] = lambda: True, born: float | None = None
    ) -> CreateOutcome:
        """Sends these bytes once and says what is proven by what came back; never raises for what the network did.

        `permit` is asked at the last moment before bytes leave, for each request. `born` is the `wall_seconds` at which
        the send was decided: the exchange accepts no request of it later than EXCHANGE_TOKEN_SECONDS after that.
        """

    async def cancel_orders(self, exchange_order_ids: Iterable[str]) -> dict[str, str]:
        """Asks the exchange to cancel; gives its words for each order it refused to. A cancel only begins here: whether an
        order ended, and what was filled, the order itself tells."""
