"""Orders, fills and balances as the exchange keeps them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import NAMESPACE_URL, uuid5

from exchange_sim.numbers import EXACT, ZERO

_NAMESPACE = uuid5(NAMESPACE_URL, "simulated-exchange")


def id_of(kind: str, name: str) -> str:
    """The id of a thing of this exchange, the same whenever it is made."""
    return str(uuid5(_NAMESPACE, f"{kind}/{name}"))


def attached_id(parent_id: str) -> str:
    """The id of the bracket that an order brings, known before it exists."""
    return id_of("attached", parent_id)


class Status(StrEnum):
    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


class Trigger(StrEnum):
    """Which way the last price must go to wake an order."""

    NONE = ""
    UP = "UP"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Order:
    """`hold` is what the order still blocks: quote when buying, base when selling.

    A stop waits until the last price reaches `stop_price`; a bracket has its limit in the book meanwhile. From then on
    the order is one at `stop_limit`. `attached` is the bracket that it brings, as it was sent, and `parent_id` the order
    that brought this one. `edits` are the price, size and time of each change, as JSON.
    """

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
    created_us: int
    updated_us: int
    status: Status = Status.OPEN
    last_fill_us: int | None = None
    filled_size: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    fill_count: int = 0
    hold: Decimal = ZERO
    message: str = ""
    done_wall_seconds: float | None = None  # when it became terminal, for the settlement delay
    trigger: Trigger = Trigger.NONE
    stop_price: Decimal | None = None
    stop_limit: Decimal | None = None
    triggered_us: int | None = None
    attached: str = ""
    parent_id: str = ""
    edits: str = "[]"
    created_wall_seconds: float = 0.0
    cancel_wall_seconds: float | None = None  # when a queued cancel takes effect; until then it may still fill
    fill_wall_seconds: float | None = None  # when a market order that is kept waiting is filled

    @property
    def left(self) -> Decimal:
        """How much of its base is still to be filled."""
        return EXACT.subtract(self.base_size or ZERO, self.filled_size)

    @property
    def cancels(self) -> bool:
        """Whether its cancel is queued: it may still fill."""
        return self.status is Status.OPEN and self.cancel_wall_seconds is not None

    @property
    def waits(self) -> bool:
        """Whether its stop is still to come."""
        return self.trigger is not Trigger.NONE and self.triggered_us is None

    @property
    def in_book(self) -> Decimal | None:
        """The price at which it would fill now; None while it only waits for its stop."""
        if self.waits:
            return self.limit_price if self.variant.startswith("trigger_bracket") else None
        return self.limit_price if self.trigger is Trigger.NONE else self.stop_limit

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
