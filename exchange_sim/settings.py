"""All settings of the simulated exchange, read once from SIM_* environment variables.

Everything wrong with them is reported together before anything is opened.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPLAY_PREFIX = "replay:"
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*")
DEFAULT_PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD", "DOGE-USD", "LINK-USD")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SIM_", frozen=True)

    port: int = Field(8443, ge=0, le=65535)
    bind: str = "127.0.0.1"
    # Further names in its certificate, separated by commas.
    names: str = ""
    state_dir: Path
    market: str = "simulated"
    products: str = ""
    seed: int = Field(1, ge=0)
    speed: float = Field(1.0, ge=0, le=1_000_000, allow_inf_nan=False)
    # Market time is the wall clock's, and is not steered.
    wall_clock: bool = False
    start: datetime | None = None
    history_days: int = Field(540, ge=1, le=5000)
    opening_usd: Decimal = Field(Decimal(10000), ge=0)
    taker_fee: Decimal = Field(Decimal("0.009"), ge=0, lt=1)
    maker_fee: Decimal = Field(Decimal("0.005"), ge=0, lt=1)
    spread_bps: Decimal = Field(Decimal(2), ge=0, lt=1000)
    keys_file: Path | None = None
    plan_file: Path | None = None
    control_token: SecretStr = SecretStr("")
    settle_delay_seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    # Requests a second, of a key on private paths and of an address on public ones; 0 is no limit. On the venue 30 and 10.
    private_rate: float = Field(0.0, ge=0, le=1_000_000, allow_inf_nan=False)
    public_rate: float = Field(0.0, ge=0, le=1_000_000, allow_inf_nan=False)
    upstream_url: str = "https://api.coinbase.com"

    @model_validator(mode="after")
    def _goes_on_without_end(self) -> "Settings":
        if self.wall_clock and self.market != "simulated":
            raise ValueError(
                "wall_clock is of the simulated market: recorded bars have an end, mirrored prices follow it anyway"
            )
        return self

    @field_validator("names")
    @classmethod
    def _are_names(cls, value: str) -> str:
        for name in filter(None, value.split(",")):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a host, such as api.coinbase.com")
        return value

    @field_validator("market")
    @classmethod
    def _known_market(cls, value: str) -> str:
        replay = value.startswith(REPLAY_PREFIX) and len(value) > len(REPLAY_PREFIX)
        if not replay and value not in ("simulated", "coinbase"):
            raise ValueError("must be simulated, replay:FILE or coinbase")
        return value

    @field_validator("private_rate", "public_rate")
    @classmethod
    def _one_at_least(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be 0 for no limit, or at least 1")
        return value

    @field_validator("start")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("needs an offset, as in 2025-01-01T00:00Z")
        return None if value is None else value.astimezone(UTC)

    def host_names(self) -> tuple[str, ...]:
        """The further names."""
        return tuple(dict.fromkeys(filter(None, self.names.split(","))))

    def product_ids(self) -> tuple[str, ...]:
        """The products asked for; empty means the market's own choice."""
        return tuple(dict.fromkeys(part.strip() for part in self.products.split(",") if part.strip()))
