"""The exchanges that the mesh can talk to. A second one is a folder beside `coinbase/` and one line here.

What an exchange needs beyond its host, such as a pass phrase, lies in its key file, which only its adapter reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exchange_client.coinbase import refusals
from exchange_client.coinbase import settings as coinbase
from exchange_client.config import ExchangeConfig
from exchange_client.exchange import Exchange
from meshkit.hosts import Host


@dataclass(frozen=True, slots=True)
class Adapter:
    """An exchange before anybody talks to it. `token_seconds`: until then after it was decided a request may arrive.
    `refusal_stays`: whether an order refused with this reason would be refused at any other time too; a refusal of which that is
    not known passes."""

    live_host: Host
    sandbox_host: Host | None
    token_seconds: int
    connect: Callable[[ExchangeConfig], Exchange]
    refusal_stays: Callable[[str], bool] = lambda _: False


def _coinbase(config: ExchangeConfig) -> Exchange:
    from exchange_client.coinbase.client import CoinbaseClient  # who only wants its addresses spares the HTTP library

    return CoinbaseClient(config)


ADAPTERS: Mapping[str, Adapter] = {
    "coinbase": Adapter(coinbase.LIVE_HOST, coinbase.SANDBOX_HOST, coinbase.TOKEN_SECONDS, _coinbase, refusals.stays),
}


async def open_exchange(config: ExchangeConfig) -> Exchange:
    """The exchange of this configuration, ready for requests; whoever opens it closes it. Misconfigured."""
    exchange = ADAPTERS[config.name].connect(config)
    await exchange.open()
    return exchange
