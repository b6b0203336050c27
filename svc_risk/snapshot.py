"""What the risk engine knows when it decides: the request, and everything about account and market that counts.

All of it is stored with the decision, so a decision can be made again from the row and compared.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from tradekit.products import Product
from tradekit.recommendation import Recommendation
from tradekit.sizes import NO_BASE, NO_QUOTE, base_size, quote_size
from tradekit.states import Side, TradingState
from tradekit.units import BaseSize, OrderSize, Price, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a recommendation that risk decides on. `size` is quote currency for BUY, base units for SELL."""

    recommendation_id: UUID
    product_id: ProductId
    side: Side
    size: OrderSize
    reference_price: Price
    as_of: datetime
    confidence: float | None

    @property
    def quote_size(self) -> QuoteSize:
        """What a BUY may spend."""
        return quote_size(self.side, self.size)

    @property
    def base_size(self) -> BaseSize:
        """What a SELL wants sold."""
        return base_size(self.side, self.size)


@dataclass(frozen=True, slots=True)
class Holding:
    """All exposure to one product: what is held, what open or UNKNOWN orders may still add, what is reserved.

    `dust` is a rest so small that the exchange takes no order of it: it has its value, and goes with the next exit.
    """

    product_id: ProductId
    base_size: BaseSize
    mark: Price | None
    sigma_14d: float | None
    open_buy: QuoteSize = NO_QUOTE
    open_sell_base: BaseSize = NO_BASE
    reserved_buy: QuoteSize = NO_QUOTE
    order_unknown: bool = False
    dust: bool = False

    @property
    def occupied(self) -> bool:
        """Whether the product takes one of the position slots."""
        held = self.base_size > 0 and not self.dust
        return held or self.open_buy > 0 or self.reserved_buy > 0 or self.order_unknown


@dataclass(frozen=True, slots=True)
class MarketView:
    """The requested product's market at the request's as_of; `last_close_time` is the close of its newest candle."""

    last_close: Price | None
    last_close_time: datetime | None
    sigma_14d: float | None
    sigma_24h: float | None
    real_bars: int
    median_quote_volume: QuoteSize


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on entries, in market time; without an end it waits for an operator."""

    code: str
    scope: str
    from_time: datetime
    until_time: datetime | None
    limit: str
    observed: str
    unit: str


@dataclass(frozen=True, slots=True)
class PastOrders:
    """The orders of a product at one market time: each has spent a token. Decisions of before they were counted name each."""

    product_id: ProductId
    as_of: datetime
    count: int = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Account and market under the account lock. `stale_seconds` is the longest age of a product's newest candle;
    `taker_fee` is reckoned with (None in decisions of before it was recorded: the parameters' own).
    """

    version: int
    trading_state: TradingState
    product: Product | None
    cash: QuoteSize
    holdings: tuple[Holding, ...]
    market: MarketView
    stale_seconds: int
    high_water_mark: QuoteSize | None
    day_open: QuoteSize | None
    locks: tuple[Lock, ...]
    past_orders: tuple[PastOrders, ...]
    last_entry: datetime | None
    last_losing_exit: datetime | None
    expired: bool
    account_fresh: bool
    taker_fee: Decimal | None = None

    def holding(self, product_id: ProductId) -> Holding:
        """The holding of a product, an empty one if there is none."""
        for found in self.holdings:
            if found.product_id == product_id:
                return found
        return Holding(product_id, NO_BASE, self.market.last_close, self.market.sigma_14d)


def request_of(recommendation: Recommendation) -> Request:
    """The part of a recommendation that risk decides on."""
    return Request(
        recommendation_id=recommendation.recommendation_id,
        product_id=recommendation.product_id,
        side=recommendation.side,
        size=recommendation.size,
        reference_price=recommendation.reference_price,
        as_of=recommendation.as_of,
        confidence=recommendation.confidence,
    )


@dataclass(frozen=True, slots=True)
class Inputs:
    """Request and snapshot together, as stored."""

    request: Request
    snapshot: Snapshot


_INPUTS: TypeAdapter[Inputs] = TypeAdapter(Inputs)


def inputs_to_json(inputs: Inputs) -> Any:
    """The inputs of a decision as stored: decimals and times as text."""
    return _INPUTS.dump_python(inputs, mode="json")


def inputs_from_json(stored: Any) -> Inputs:
    """The inputs that `inputs_to_json` stored, equal in every field."""
    return _INPUTS.validate_python(stored)
