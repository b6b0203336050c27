"""The one way to an exchange: a protocol that services know, an adapter for each exchange, typed replies, honest outcomes.

The simulated and the real exchange are reached by the same code. `Exchange.create_order` never raises for what the network
did: it says whether the order was accepted, refused, provably not sent, or whether nobody knows.
"""

from exchange_client.adapters import open_exchange
from exchange_client.config import ExchangeConfig
from exchange_client.errors import ExchangeRefused, ExchangeUnavailable
from exchange_client.exchange import Exchange, MarketData
from exchange_client.feed import (
    Alive,
    BestBid,
    FeedEvent,
    FeedFault,
    FeedLost,
    Feeds,
    Ignored,
    OrderChanged,
    Synchronised,
)
from exchange_client.models import (
    Accepted,
    Account,
    Bracket,
    CreateOutcome,
    ExchangeFill,
    ExchangeOrder,
    ExchangeProduct,
    FeeRates,
    KeyPermissions,
    Limit,
    NotSent,
    OrderPreview,
    OrderTerms,
    Portfolio,
    RawCandle,
    Refused,
    SameTerms,
    Touch,
    Unknown,
)
from exchange_client.settings import ExchangeSettings

__all__ = [
    "Accepted",
    "Account",
    "Alive",
    "BestBid",
    "Bracket",
    "CreateOutcome",
    "Exchange",
    "ExchangeConfig",
    "ExchangeFill",
    "ExchangeOrder",
    "ExchangeProduct",
    "ExchangeRefused",
    "ExchangeSettings",
    "ExchangeUnavailable",
    "FeeRates",
    "FeedEvent",
    "FeedFault",
    "FeedLost",
    "Feeds",
    "Ignored",
    "KeyPermissions",
    "Limit",
    "MarketData",
    "NotSent",
    "OrderPreview",
    "OrderChanged",
    "OrderTerms",
    "Portfolio",
    "RawCandle",
    "Refused",
    "SameTerms",
    "Touch",
    "Synchronised",
    "Unknown",
    "open_exchange",
]
