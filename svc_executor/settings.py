"""Settings of the executor, and the pairs of venue and host that may send orders.

A simulated fill must never be taken for a real one, nor the other way round, so a venue and a host that do not belong
together end the start.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from exchange_client import ExchangeSettings
from exchange_client.settings import SIMULATOR_HOSTS
from svc_executor.entry_order import EntryRules
from svc_executor.exit_plan import ExitRules
from tradekit import services
from tradekit.decimals import parse_decimal
from tradekit.products import quote_currency
from tradekit.settings import port_field
from tradekit.states import OrderType, ProtectionMode, Venue

_CURRENCY = re.compile(r"[A-Z0-9]{1,12}")


def parse_tolerance(text: str) -> dict[str, Decimal]:
    """Amounts by currency, from `USD=0.01,BTC=0.00000001`. ValueError names the part that is no such pair."""
    found: dict[str, Decimal] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        currency, _, amount = part.partition("=")
        try:
            number = parse_decimal(amount.strip())
        except ValueError:
            number = Decimal(-1)
        if not _CURRENCY.fullmatch(currency.strip()) or number < 0 or currency.strip() in found:
            raise ValueError(f"{part!r} is not a currency with an amount of 0 or more, named once, such as USD=0.01")
        found[currency.strip()] = number
    return found


_ENTRY_ORDERS = "an entry is ordered as MARKET, LIMIT or POST_ONLY"


class ExecutorSettings(ExchangeSettings):
    """Where orders go, who may ask for them, and how often the ledger is compared."""

    service_name: str = "executor"
    port: int = port_field(services.EXECUTOR)
    ticket_public_key_file: Path = Field(description="PEM file of the risk engine's Ed25519 public key")
    live_confirm: str = Field("", description="LIVE only: the UUID of the portfolio whose money may be spent")
    halt_file: Path | None = Field(
        None, description="file that halts this executor at once; unset keeps an order in memory and the database only"
    )
    reconcile_seconds: float = Field(10.0, ge=0.2, le=300, description="pause between two reconciliations")
    absence_seconds: float | None = Field(
        None,
        ge=1,
        le=3600,
        description="how long after a send an order that the exchange does not list was never made; "
        "unset takes EXCHANGE_TOKEN_SECONDS and twice EXCHANGE_TOTAL_SECONDS",
    )

    entry_order: OrderType = Field(
        OrderType.MARKET,
        description="how an entry is ordered: MARKET; LIMIT at the best bid, resting until the recommendation's life is over; "
        "POST_ONLY, the same and refused where it would trade at once",
    )
    entry_offset_ratio: Decimal = Field(
        Decimal(0),
        ge=Decimal("-0.05"),
        le=Decimal("0.2"),
        description="how far below the best bid the limit of an entry lies, share of the price; below 0 it lies above",
    )

    stop_ratio: Decimal = Field(
        Decimal("0.05"),
        gt=0,
        lt=1,
        description="how far below its entry a position is sold at a loss, share of the price",
    )
    target_ratio: Decimal = Field(
        Decimal("0.1"),
        gt=0,
        le=10,
        description="how far above its entry a position is sold at a profit, share of the price",
    )
    trailing_stop_ratio: Decimal | None = Field(
        None,
        gt=0,
        lt=1,
        description="how far below the highest price since its entry a position is sold, share; unset: not",
    )
    time_limit_bars: int | None = Field(
        None, ge=1, le=100_000, description="bars after its entry from which a position is sold; unset: no limit"
    )
    protection_poll_seconds: float = Field(
        2.0, ge=0.2, le=60, description="pause between two looks at prices while the executor itself watches a stop"
    )

    feeds: bool = Field(
        True,
        description="whether the exchange's WebSocket is followed; without it, orders and prices are only asked for",
    )
    feed_silent_seconds: float = Field(
        5.0, ge=2, le=60, description="how long a feed may be without a sign of life before it counts as lost"
    )

    ledger_tolerance: Annotated[dict[str, Decimal], NoDecode] = Field(
        default_factory=dict,
        description="largest difference from the exchange that counts as none, such as USD=0.01,BTC=0.00000001; unset: none",
    )

    @field_validator("ledger_tolerance", mode="before")
    @classmethod
    def _read_tolerance(cls, value: object) -> object:
        return parse_tolerance(value) if isinstance(value, str) else value

    @field_validator("entry_order", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.upper() not in OrderType.__members__:
            raise ValueError(f"is no kind of order; {_ENTRY_ORDERS}")
        return value.upper()

    @field_validator("entry_order")
    @classmethod
    def _enters(cls, value: OrderType) -> OrderType:
        if value is OrderType.BRACKET:
            raise ValueError(f"is a way out; {_ENTRY_ORDERS}")
        return value

    @field_validator("ticket_public_key_file")
    @classmethod
    def _is_file(cls, value: Path) -> Path:
        if not value.is_file():
            raise ValueError("is not a file")
        return value

    def disagreements(self) -> Iterator[str]:
        """Venue and host belong together, and what sends orders has what that needs."""
        yield from super().disagreements()
        yield from self._venue_and_host()
        if self.venue is Venue.LIVE and not self.live_confirm:
            yield "VENUE=LIVE spends real money: set LIVE_CONFIRM to the portfolio's UUID"
        if self.venue is Venue.LIVE and self.halt_file is None:
            yield "VENUE=LIVE needs HALT_FILE: with real money a halt must survive restarts by itself"
        if self.exchange_key_file is None:
            yield "EXCHANGE_KEY_FILE is needed to send orders"
        if len({quote_currency(product) for product in self.products}) != 1:
            yield "PRODUCTS must share one quote currency: profit is counted in it"
        if self.entry_order is OrderType.MARKET and self.entry_offset_ratio:
            yield "ENTRY_OFFSET_RATIO is of a limit, and ENTRY_ORDER=MARKET has none: set ENTRY_ORDER, or leave it out"
        if self.entry_order is OrderType.POST_ONLY and self.entry_offset_ratio < 0:
            yield "ENTRY_OFFSET_RATIO below 0 lies above the bid, where POST_ONLY is refused: set ENTRY_ORDER=LIMIT, or 0 or more"
        # Until its token ends a request may arrive, and then take as long as the longest.
        shortest = self.exchange_token_seconds + self.exchange_total_seconds
        if self.absence_seconds is not None and self.absence_seconds < shortest:
            yield (
                f"ABSENCE_SECONDS is {self.absence_seconds:g}; must be at least EXCHANGE_TOKEN_SECONDS and "
                f"EXCHANGE_TOTAL_SECONDS together, {shortest:g}: until then a request that was sent may still arrive"
            )

    def _venue_and_host(self) -> Iterator[str]:
        sandbox = self.adapter.sandbox_host
        if self.venue is Venue.SANDBOX and self.exchange != sandbox:
            where = f"to {sandbox} at port 443 only" if sandbox else f"nowhere: {self.exchange_name} has no sandbox"
            yield f"VENUE=SANDBOX sends orders {where}, not to EXCHANGE_HOST={self.exchange}"
        if self.venue not in (Venue.LIVE, Venue.SANDBOX) and not self.simulator_only:
            yield f"VENUE={self.venue} sends orders to the simulated exchange only, {SIMULATOR_HOSTS}; not to {self.exchange}"

    @property
    def absence(self) -> timedelta:
        """How long after a send the exchange's list proves that there is no order. Unset, clocks may differ by one longest
        request besides."""
        unset = self.exchange_token_seconds + 2 * self.exchange_total_seconds
        return timedelta(seconds=unset if self.absence_seconds is None else self.absence_seconds)

    @property
    def entry_rules(self) -> EntryRules:
        """How an entry is ordered."""
        return EntryRules(self.entry_order, self.entry_offset_ratio)

    @property
    def exit_rules(self) -> ExitRules:
        """How a position is left when nobody decides to leave it."""
        bars = self.time_limit_bars
        limit = None if bars is None else timedelta(seconds=bars * self.granularity_seconds)
        # A sandbox's fills are canned: there is nothing to protect, and what it says of an order is not so.
        mode = ProtectionMode.OFF if self.venue is Venue.SANDBOX else self.protective_exits
        # In a replay nothing may depend on the machine's clock.
        retries = self.venue is not Venue.REPLAY
        return ExitRules(mode, self.stop_ratio, self.target_ratio, self.trailing_stop_ratio, limit, retries)

    @property
    def portfolio(self) -> str:
        """With real money the portfolio that the key must be of, else empty."""
        return self.live_confirm.lower() if self.venue is Venue.LIVE else ""

    @property
    def follows_feeds(self) -> bool:
        """Not in a replay, where nothing may happen between two bars, nor in a sandbox, whose orders are canned."""
        return self.feeds and self.venue not in (Venue.REPLAY, Venue.SANDBOX)

    @property
    def account_currency(self) -> str:
        """The quote currency of every product."""
        return quote_currency(self.products[0])
