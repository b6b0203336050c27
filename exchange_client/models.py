"""What the exchange says, as typed values: exact decimals, aware UTC times, and the outcomes of an order request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from enum import Enum, auto
from typing import Any
from uuid import UUID

from tradekit.decimals import CONTEXT
from tradekit.sizes import NO_BASE
from tradekit.states import Side
from tradekit.units import BaseSize, OrderSize, Price, ProductId, QuoteSize

# What an adapter calls an order that no later change is possible of; decide what it did from its filled size, never from
# the word. An order that is not done keeps the exchange's own word.
FILLED, CANCELLED, EXPIRED, FAILED = "FILLED", "CANCELLED", "EXPIRED", "FAILED"
TERMINAL_STATUSES = frozenset({FILLED, CANCELLED, EXPIRED, FAILED})


@dataclass(frozen=True, slots=True)
class ExchangeProduct:
    """One market with its increments and limits, in units of their currency. `tradable`: a market order can be placed now;
    `brackets`: one may rest there; `status` is the exchange's own word for its state."""

    product_id: ProductId
    base_currency: str
    base_increment: BaseSize
    quote_increment: QuoteSize
    price_increment: Price
    base_min_size: BaseSize
    base_max_size: BaseSize
    quote_min_size: QuoteSize
    quote_max_size: QuoteSize
    status: str
    tradable: bool
    brackets: bool = False


@dataclass(frozen=True, slots=True)
class RawCandle:
    """A bucket as the exchange gave it, unjudged: a value that is no number is NaN. `volume` is in base units."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """One currency's wallet."""

    currency: str
    available: Decimal
    hold: Decimal

    @property
    def total(self) -> Decimal:
        with localcontext(CONTEXT):
            return self.available + self.hold


@dataclass(frozen=True, slots=True)
class Bracket:
    """The two prices of an order that rests: it sells at its target or better, or once its stop is reached, and not twice.
    Between the two lies the market when it is made."""

    stop_price: Price
    target_price: Price


@dataclass(frozen=True, slots=True)
class Limit:
    """An order that buys so many base units at its price or better, and rests until `end_time` by the exchange's clock. The
    exchange refuses one that is `post_only` rather than let it trade at once."""

    price: Price
    size: BaseSize
    end_time: datetime
    post_only: bool


@dataclass(frozen=True, slots=True)
class Touch:
    """The best price that somebody bids for a product, and the exchange's time of it."""

    bid: Price
    time: datetime


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What an order is for: `size` is quote currency for a BUY, fee inside, and base units for a SELL. `order_id` is ours,
    the exchange's client order id. It is a market order unless it has a limit, which buys and spends at most its size, or a
    bracket, which sells."""

    order_id: UUID
    product_id: ProductId
    side: Side
    size: OrderSize
    bracket: Bracket | None = None
    limit: Limit | None = None


class SameTerms(Enum):
    """Whose terms an order at the exchange has."""

    OURS = auto()
    OTHER = auto()
    UNREADABLE = auto()


@dataclass(frozen=True, slots=True)
class ExchangeOrder:
    """An order as the exchange has it. `filled_size` is in base units; `settled` means that its fills are final; `hold` is
    what it blocks: quote currency for a BUY, base units for a SELL. `configuration` is what was ordered in the exchange's
    own words, for `Exchange.same_terms` to read.
    """

    order_id: str
    client_order_id: str
    product_id: ProductId
    side: str
    configuration: Mapping[str, Any]
    status: str
    filled_size: BaseSize
    filled_value: QuoteSize
    total_fees: QuoteSize
    settled: bool
    created_time: datetime
    reject_reason: str
    message: str
    hold: OrderSize = NO_BASE

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True)
class ExchangeFill:
    """One execution. `size` is in the unit the exchange told it in: quote currency if `size_in_quote`, else base.
    `trade_type` is FILL, or the exchange's word for something that is none; `liquidity` TAKER, MAKER or another word."""

    entry_id: str
    trade_id: str
    order_id: str
    product_id: ProductId
    side: str
    trade_type: str
    price: Price
    size: OrderSize
    size_in_quote: bool
    commission: QuoteSize
    liquidity: str
    trade_time: datetime


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """What the API key may do, and the portfolio it is bound to."""

    can_view: bool
    can_trade: bool
    can_transfer: bool
    portfolio_uuid: str
    portfolio_type: str = ""


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A part of the account that has its own balances; its name is the owner's."""

    uuid: str
    name: str
    portfolio_type: str


@dataclass(frozen=True, slots=True)
class OrderPreview:
    """What the exchange says an order would do now. `total` and `fee` are quote currency, for a BUY the fee is inside the total;
    `slippage` is a share of the price. `errors` are its reasons to refuse the order, empty where it would take it."""

    total: Decimal
    fee: Decimal
    base_size: Decimal
    quote_size: Decimal
    average_price: Decimal
    best_bid: Decimal
    best_ask: Decimal
    slippage: Decimal
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeeRates:
    """Fee per side as a share: 0.006 is 0.6 %."""

    maker: Decimal
    taker: Decimal
    tier: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order with our client_order_id exists. The echo is the request's, so only a GET proves the order's terms."""

    exchange_order_id: str
    client_order_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The exchange read the order and did not take it."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """This request created nothing. `permanent` if the same bytes would fare the same tomorrow."""

    why: str
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Bytes may have reached the exchange and no usable answer came back: nobody knows."""

    why: str


CreateOutcome = Accepted | Refused | NotSent | Unknown
