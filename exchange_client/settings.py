"""Settings of every service that talks to the exchange, and what its client is made from.

The host is given without scheme, because it is part of what each JWT signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from exchange_client.credentials import LIFE_SECONDS
from meshkit.hosts import Host, parse_host
from tradekit.settings import TradingSettings
from tradekit.states import Venue

LIVE_HOST = Host("api.coinbase.com")
SANDBOX_HOST = Host("api-sandbox.coinbase.com")
# Below the limits reported for the real exchange (30/s private, 10/s public): bursts of others share the same key.
PRIVATE_PER_SECOND = 10.0
PUBLIC_PER_SECOND = 5.0


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """Everything a client needs. Seconds are wall seconds of one attempt; rates are requests per second."""

    host: str
    ca_file: Path | None = None
    key_file: Path | None = None
    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    total_seconds: float = 10.0
    token_seconds: int = LIFE_SECONDS
    private_per_second: float = PRIVATE_PER_SECOND
    public_per_second: float = PUBLIC_PER_SECOND


class ExchangeSettings(TradingSettings):
    """EXCHANGE_* variables."""

    exchange_host: str = Field("127.0.0.1:8443", description="host[:port] without scheme, such as api.coinbase.com")
    exchange_ca_file: Path | None = Field(None, description="PEM file of the CA to trust; unset trusts the system's")
    exchange_key_file: Path | None = Field(
        None, description="JSON file {name, privateKey} of the API key; unset reads public data only"
    )
    exchange_connect_seconds: float = Field(3.0, gt=0, le=60, description="longest connect with TLS")
    exchange_read_seconds: float = Field(5.0, gt=0, le=60, description="longest silence while an answer is awaited")
    exchange_total_seconds: float = Field(10.0, gt=0, le=60, description="longest single request")
    exchange_token_seconds: int = Field(
        LIFE_SECONDS, ge=10, le=LIFE_SECONDS, description="life of a request's token; until then the request may arrive"
    )
    exchange_rate_per_second: float | None = Field(
        None, gt=0, le=100_000, description="requests per second; unset takes 10 private and 5 public"
    )

    @field_validator("exchange_host")
    @classmethod
    def _one_spelling(cls, value: str) -> str:
        return str(parse_host(value))

    @field_validator("exchange_ca_file", "exchange_key_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("is not a file")
        return value

    @model_validator(mode="after")
    def _real_money_meets_the_real_exchange(self) -> Self:
        if self.venue is not Venue.LIVE:
            return self
        if self.exchange != LIVE_HOST:
            raise ValueError(f"VENUE=LIVE talks to EXCHANGE_HOST={LIVE_HOST} at port 443 only, not to {self.exchange}")
        if self.exchange_ca_file is not None:
            raise ValueError("VENUE=LIVE trusts the system's authorities only: unset EXCHANGE_CA_FILE")
        return self

    @property
    def exchange(self) -> Host:
        """The exchange's host; every rule about hosts is asked of this."""
        return parse_host(self.exchange_host)

    def exchange_config(self) -> ExchangeConfig:
        rate = self.exchange_rate_per_second
        return ExchangeConfig(
            host=self.exchange_host,
            ca_file=self.exchange_ca_file,
            key_file=self.exchange_key_file,
            connect_seconds=self.exchange_connect_seconds,
            read_seconds=self.exchange_read_seconds,
            total_seconds=self.exchange_total_seconds,
            token_seconds=self.exchange_token_seconds,
            private_per_second=rate or PRIVATE_PER_SECOND,
            public_per_second=rate or PUBLIC_PER_SECOND,
        )
