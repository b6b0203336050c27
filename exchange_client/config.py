"""What a client of any exchange is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# The exchange that an unset EXCHANGE_NAME means.
DEFAULT = "coinbase"


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """One connection. Seconds are wall seconds of one attempt; rates are requests per second; None takes the adapter's own
    value. What lies in `key_file` only the adapter knows; `name` is its own in `exchange_client.adapters`."""

    host: str
    ca_file: Path | None = None
    key_file: Path | None = None
    connect_seconds: float = 3.0
    read_seconds: float = 5.0
    total_seconds: float = 10.0
    token_seconds: int | None = None
    private_per_second: float | None = None
    public_per_second: float | None = None
    name: str = DEFAULT
