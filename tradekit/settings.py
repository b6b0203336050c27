"""Settings that every trading service shares: the run, the venue, what is traded, and where the other services are.

Environment variables have the same names locally and in the ConfigMap `crypto-trading-config`.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, Field, create_model, field_validator
from pydantic_settings import NoDecode

from meshkit.settings import UNSET, KitSettings
from tradekit import services
from tradekit.bars import GRANULARITY_SECONDS
from tradekit.fees import DEFAULT_TAKER_FEE, reckoned_taker_fee
from tradekit.products import is_product_id
from tradekit.states import LifeClock, Profile, ProtectionMode, Venue
from tradekit.units import ProductId

RUN_ID_PATTERN = r"^[a-zA-Z0-9._-]{1,64}$"
DEFAULT_PRODUCTS = tuple(map(ProductId, ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD", "DOGE-USD", "LINK-USD")))


def port_field(service: services.ServiceName) -> int:
    """The listening port of a service: its own variable, such as RISK_PORT, or the default of the mesh."""
    port: int = Field(service.port, ge=0, le=65535, validation_alias=AliasChoices(service.port_variable, "port"))
    return port


class _Agreed(KitSettings):
    """What all stages must agree on."""

    run_id: str = Field("main", pattern=RUN_ID_PATTERN, description="name of the run; part of every id")
    venue: Venue = Field(Venue.SIMULATED, description="SIMULATED, REPLAY, PAPER, SANDBOX or LIVE")
    decision_profile: Profile = Field(Profile.EVIDENCE, description="EVIDENCE or EXERCISE")
    granularity: Literal["ONE_MINUTE", "FIVE_MINUTE", "FIFTEEN_MINUTE", "ONE_HOUR"] = Field(
        "ONE_HOUR", description="length of a bar"
    )
    products: Annotated[tuple[ProductId, ...], NoDecode] = Field(
        DEFAULT_PRODUCTS, description="products traded, separated by commas, such as BTC-USD,ETH-USD"
    )
    protective_exits: ProtectionMode = Field(
        ProtectionMode.BRACKET,
        description="what protects a position: BRACKET rests at the exchange, SOFTWARE is kept and watched by the executor, OFF",
    )
    taker_fee: Decimal = Field(
        DEFAULT_TAKER_FEE,
        ge=0,
        lt=Decimal("0.1"),
        description="taker fee per side, share; set, it is the least that is reckoned with; unset follows the exchange's "
        f"tier, and is {DEFAULT_TAKER_FEE} until that is read and in a replay",
        json_schema_extra={UNSET: "the exchange's"},
    )

    @field_validator("products", mode="before")
    @classmethod
    def _split_products(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("products")
    @classmethod
    def _good_products(cls, value: tuple[ProductId, ...]) -> tuple[ProductId, ...]:
        bad = [product for product in value if not is_product_id(product)]
        if bad or not value or len(set(value)) != len(value):
            raise ValueError(f"must be one or more different products such as BTC-USD; wrong: {bad or value}")
        return value

    @field_validator("venue", "decision_profile", "protective_exits", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


if TYPE_CHECKING:
    _Addressed = _Agreed
else:
    # One field for each service of the list; read by `TradingSettings.address`.
    _Addressed = create_model(
        "_Addressed", __base__=_Agreed, **{one.address_field: (str, one.default_address) for one in services.SERVICES}
    )


class TradingSettings(_Addressed):
    """What all stages must agree on, and where each of them is dialled."""

    def disagreements(self) -> Iterator[str]:
        """What is refused with real money."""
        yield from super().disagreements()
        if self.venue is Venue.LIVE and self.decision_profile is Profile.EXERCISE:
            yield "DECISION_PROFILE=EXERCISE is refused with VENUE=LIVE: it trades without evidence"
        if self.venue is Venue.LIVE and self.mesh_auth == "off":
            yield (
                "MESH_AUTH=off is refused with VENUE=LIVE: any user of this machine could trade with real money; "
                "set MESH_AUTH=token, mtls or xfcc"
            )

    @property
    def known_callers(self) -> frozenset[str]:
        """The services and who speaks for people."""
        return frozenset(services.IDENTITIES)

    @property
    def taker_fee_setting(self) -> Decimal | None:
        """TAKER_FEE where somebody set it."""
        return self.taker_fee if "taker_fee" in self.model_fields_set else None

    def reckoned_taker_fee(self, exchange: Decimal | None) -> Decimal:
        """The taker fee to reckon with, given the exchange's. A replay's is the setting alone: its result must not hang on
        when the tier was first read.
        """
        if self.venue is Venue.REPLAY:
            return self.taker_fee
        return reckoned_taker_fee(self.taker_fee_setting, exchange)

    @property
    def granularity_seconds(self) -> int:
        """Length of a bar in seconds."""
        return GRANULARITY_SECONDS[self.granularity]

    @property
    def durable(self) -> bool:
        """A replay's rows are made again whenever wanted; every other venue's are kept whatever happens."""
        return self.venue is not Venue.REPLAY

    @property
    def real_prices(self) -> bool:
        """Prices are real, whatever becomes of the orders, and market time is machine time."""
        return self.venue in (Venue.PAPER, Venue.SANDBOX, Venue.LIVE)

    @property
    def life_clock(self) -> LifeClock:
        """The clock of a recommendation's life: market time in a replay, machine time elsewhere."""
        return LifeClock.MARKET if self.venue is Venue.REPLAY else LifeClock.MACHINE

    def address(self, service: services.ServiceName) -> str:
        """Where a service is dialled."""
        address: str = getattr(self, service.address_field)
        return address
