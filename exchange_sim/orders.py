"""Orders, fills and balances as the exchange keeps them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Status(StrEnum):
    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Order:
    """`hold` is what the order still blocks: quote when buying, base when selling."""

    sequence: int  # 0 until stored
    order_id: str
    client_order_id: str
    product_id: str
    side: str
    variant: str
    terms: str  # the configuration's inner JSON object, as it was sent
    base_size: Decimal | None
    quote_size: Decimal | None
    limit_price: Decimal | None
    end_us: int | None
    status: Status
    created_us: int
    updated_us: int
    last_fill_us: int | None
    filled_size: Decimal
    filled_value: Decimal
    fees: Decimal
    fill_count: int
    hold: Decimal
    message: str
    done_wall_seconds: float | None  # when it became terminal, for the settlement delay

    @property
    def spends(self) -> str:
        """The currency this order gives away."""
        base, _, quote = self.product_id.rpartition("-")
        return quote if self.side == "BUY" else base

    @property
    def receives(self) -> str:
        base, _, quote = self.product_id.rpartition("-")
        return base if self.side == "BUY" else quote


@dataclass(frozen=True, slots=True)
class Fill:
    sequence: int  # 0 until stored
    entry_id: str
    trade_id: str
    order_id: str
    product_id: str
    side: str
    price: Decimal
    size: Decimal
    commission: Decimal
    liquidity: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Balance:
    currency: str
    available: Decimal
    hold: Decimal
