"""The one way to the exchange: HTTPS with a fresh JWT per request, typed replies, and honest outcomes of orders.

The simulated and the real exchange are reached by the same code. `create_order` never raises for what the network did:
it says whether the order was accepted, refused, provably not sent, or whether nobody knows.
"""

from exchange_client.client import ExchangeClient
from exchange_client.errors import ExchangeRefused, ExchangeUnavailable
from exchange_client.models import (
    Accepted,
    Account,
    CreateOutcome,
    ExchangeFill,
    ExchangeOrder,
    ExchangeProduct,
    FeeRates,
    KeyPermissions,
    NotSent,
    RawCandle,
    Refused,
    Unknown,
)
from exchange_client.settings import ExchangeConfig, ExchangeSettings

__all__ = [
    "Accepted",
    "Account",
    "CreateOutcome",
    "Unknown",
    "ExchangeClient",
    "ExchangeConfig",
    "ExchangeFill",
    "ExchangeOrder",
    "ExchangeProduct",
    "ExchangeRefused",
    "ExchangeSettings",
    "ExchangeUnavailable",
    "FeeRates",
    "KeyPermissions",
    "RawCandle",
    "Refused",
    "NotSent",
]
