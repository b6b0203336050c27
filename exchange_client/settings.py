"""Settings of every service that talks to the exchange, and what its client is made from.

The host is given without scheme, because it is part of what each JWT signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, field_validator

from exchange_client.adapters import ADAPTERS, Adapter
from exchange_client.config import DEFAULT, ExchangeConfig
from meshkit.hosts import Host, parse_host
from tradekit.settings import TradingSettings
from tradekit.states import Venue

# How the host of a simulated exchange is given.
SIMULATOR_HOSTS = (
    "such as EXCHANGE_HOST=127.0.0.1:8443, or on an own network by a name without a dot, such as exchange-sim:8443, beside "
    "EXCHANGE_CA_FILE"
)
_LONGEST_TOKEN_SECONDS = max(adapter.token_seconds for adapter in ADAPTERS.values())


class ExchangeSettings(TradingSettings):
    """EXCHANGE_* variables."""

    exchange_name: str = Field(DEFAULT, description=f"whose protocol the host speaks: {', '.join(ADAPTERS)}")
    exchange_host: str = Field("127.0.0.1:8443", description="host[:port] without scheme, such as api.coinbase.com")
    exchange_ca_file: Path | None = Field(None, description="PEM file of the CA to trust; unset trusts the system's")
    exchange_key_file: Path | None = Field(
        None, description="JSON file {name, privateKey} of the API key; unset reads public data only"
    )
    exchange_connect_seconds: float = Field(3.0, gt=0, le=60, description="longest connect with TLS")
    exchange_read_seconds: float = Field(5.0, gt=0, le=60, description="longest silence while an answer is awaited")
    exchange_total_seconds: float = Field(10.0, gt=0, le=60, description="longest single request")
    exchange_token_seconds: int = Field(
        _LONGEST_TOKEN_SECONDS,
        ge=10,
        le=_LONGEST_TOKEN_SECONDS,
        description="life of a request's token; until then the request may arrive",
    )
    exchange_rate_per_second: float | None = Field(
        None, gt=0, le=100_000, description="requests per second; unset takes 10 private and 5 public"
    )

    @field_validator("exchange_name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ADAPTERS:
            raise ValueError(f"must be one of {', '.join(ADAPTERS)}")
        return value

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

    def disagreements(self) -> Iterator[str]:
        """Real money meets the real exchange only."""
        yield from super().disagreements()
        if self.venue is not Venue.LIVE:
            return
        if self.exchange != self.adapter.live_host:
            yield f"VENUE=LIVE talks to EXCHANGE_HOST={self.adapter.live_host} at port 443 only, not to {self.exchange}"
        if self.exchange_ca_file is not None:
            yield "VENUE=LIVE trusts the system's authorities only: unset EXCHANGE_CA_FILE"

    @property
    def adapter(self) -> Adapter:
        """What is known of the exchange beforehand."""
        return ADAPTERS[self.exchange_name]

    @property
    def exchange(self) -> Host:
        """The exchange's host; every rule about hosts is asked of this."""
        return parse_host(self.exchange_host)

    @property
    def simulator_only(self) -> bool:
        """Whether nobody but a simulated exchange can answer: one on this machine, or one of an own network that is called by a
        name without a dot (a Service of a cluster; no exchange of the world has such a name) and proves itself by an authority
        of its own."""
        own_name = "." not in self.exchange.name and ":" not in self.exchange.name
        return self.exchange.is_loopback or (own_name and self.exchange_ca_file is not None)

    def exchange_config(self) -> ExchangeConfig:
        """What its client is made from."""
        return ExchangeConfig(
            name=self.exchange_name,
            host=self.exchange_host,
            ca_file=self.exchange_ca_file,
            key_file=self.exchange_key_file,
            connect_seconds=self.exchange_connect_seconds,
            read_seconds=self.exchange_read_seconds,
            total_seconds=self.exchange_total_seconds,
            token_seconds=self.exchange_token_seconds,
            private_per_second=self.exchange_rate_per_second,
            public_per_second=self.exchange_rate_per_second,
        )
