"""A second exchange, in memory: it speaks forms instead of JSON, names pairs its own way, and needs no key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from urllib.parse import parse_qs, urlencode
from uuid import UUID

from exchange_client import (
    Accepted,
    Account,
    CreateOutcome,
    ExchangeFill,
    ExchangeOrder,
    ExchangeProduct,
    FeeRates,
    KeyPermissions,
    NotSent,
    OrderTerms,
    RawCandle,
    Refused,
    SameTerms,
    Touch,
    Unknown,
)
from tradekit.decimals import plain
from tradekit.states import Side

NOW = datetime(2025, 1, 1, tzinfo=UTC)
PRICE, FEE = Decimal(45000), Decimal("0.004")
STEP, CENT = Decimal("0.00000001"), Decimal("0.01")


@dataclass
class FormExchange:
    """Fills every market order of BTC-USD at one price. `lose_answers`: how many answers to creates get lost."""

    wallets: dict[str, Decimal] = field(default_factory=lambda: {"USD": Decimal(1000), "BTC": Decimal(0)})
    made: dict[str, ExchangeOrder] = field(default_factory=dict)
    filled: list[ExchangeFill] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    lose_answers: int = 0
    closed: bool = False

    async def open(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True

    def feeds(self, silent_seconds: float) -> None:
        return None

    async def market_time(self) -> datetime:
        return NOW

    async def products(self, product_ids: Iterable[str]) -> tuple[ExchangeProduct, ...]:
        least, most = Decimal("0.0001"), Decimal(1000)
        rules = ExchangeProduct(
            "BTC-USD", "BTC", STEP, CENT, CENT, least, most, Decimal(1), most * 1000, "trading", tradable=True
        )
        return (rules,) if "BTC-USD" in product_ids else ()

    async def candles(
        self, product_id: str, granularity_seconds: int, start: datetime, end: datetime
    ) -> tuple[RawCandle, ...]:
        return ()

    async def key_permissions(self) -> KeyPermissions:
        return KeyPermissions(can_view=True, can_trade=True, can_transfer=False, portfolio_uuid="main")

    async def fee_rates(self) -> FeeRates:
        return FeeRates(FEE, FEE, "flat")

    async def accounts(self) -> tuple[Account, ...]:
        return tuple(Account(currency, amount, Decimal(0)) for currency, amount in self.wallets.items())

    async def best_bids(self, product_ids: Iterable[str]) -> dict[str, Decimal]:
        return dict.fromkeys(product_ids, PRICE)

    async def touch(self, product_id: str) -> Touch | None:
        return Touch(PRICE, datetime.now(UTC))

    async def order(self, exchange_order_id: str) -> ExchangeOrder | None:
        return self.made.get(exchange_order_id)

    async def orders_by_id(self, exchange_order_ids: Iterable[str]) -> tuple[ExchangeOrder, ...]:
        return tuple(self.made[one] for one in exchange_order_ids if one in self.made)

    async def orders(
        self, start: datetime | None, end: datetime | None = None, product_id: str | None = None
    ) -> tuple[ExchangeOrder, ...]:
        return tuple(self.made.values())

    async def resting_orders(self) -> tuple[ExchangeOrder, ...]:
        return ()

    async def fills(self, exchange_order_ids: Iterable[str]) -> tuple[ExchangeFill, ...]:
        wanted = set(exchange_order_ids)
        return tuple(fill for fill in self.filled if fill.order_id in wanted)

    async def fill_pages(self, start: datetime) -> AsyncIterator[Sequence[ExchangeFill]]:
        yield tuple(self.filled)

    def body_of(self, terms: OrderTerms) -> str:
        size = {"spend" if terms.side is Side.BUY else "give": plain(terms.size)}
        return urlencode({"ref": terms.order_id.hex, "pair": "XBT/USD", "do": terms.side.value.lower(), **size})

    def same_terms(self, terms: OrderTerms, found: ExchangeOrder) -> SameTerms:
        if found.client_order_id != str(terms.order_id):
            return SameTerms.UNREADABLE
        return SameTerms.OURS if found.configuration["form"] == self.body_of(terms) else SameTerms.OTHER

    def wall_seconds(self) -> float:
        return NOW.timestamp()

    async def create_order(
        self, body: bytes, permit: Callable[[], bool] = lambda: True, born: float | None = None
    ) -> CreateOutcome:
        if not permit():
            return NotSent("the permit was gone")
        self.received.append(body)
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        reference = str(UUID(form["ref"]))
        if form["pair"] != "XBT/USD":
            return Refused("NO_SUCH_PAIR", form["pair"])
        number = str(len(self.made) + 1)
        self._fill(number, reference, Side(form["do"].upper()), Decimal(form.get("spend") or form["give"]), body)
        if self.lose_answers:
            self.lose_answers -= 1
            return Unknown("the answer was lost")
        return Accepted(number, reference)

    async def cancel_orders(self, exchange_order_ids: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(exchange_order_ids, "it is filled")

    def _fill(self, number: str, reference: str, side: Side, size: Decimal, body: bytes) -> None:
        buys = side is Side.BUY
        base = (size / (1 + FEE) / PRICE).quantize(STEP, ROUND_DOWN) if buys else size
        value, fee = base * PRICE, base * PRICE * FEE
        self.wallets["BTC"] += base if buys else -base
        self.wallets["USD"] += -value - fee if buys else value - fee
        order = ExchangeOrder(
            *(number, reference, "BTC-USD", side.value, {"form": body.decode()}, "FILLED", base, value, fee),
            settled=True,
            created_time=NOW,
            reject_reason="",
            message="",
        )
        self.made[number] = order
        self.filled.append(
            ExchangeFill(
                *(f"fill-{number}", number, number, "BTC-USD", side.value, "FILL", PRICE, base, False, fee),
                liquidity="TAKER",
                trade_time=NOW,
            )
        )

    def somebody_else_takes(self, number: str) -> None:
        """The order keeps our id and has other terms from now on."""
        self.made[number] = replace(self.made[number], configuration={"form": "another"})
