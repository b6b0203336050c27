"""Coinbase's addresses and limits."""

from meshkit.hosts import Host

LIVE_HOST = Host("api.coinbase.com")
SANDBOX_HOST = Host("api-sandbox.coinbase.com")
# The hosts of its WebSocket: for the market, and for the orders of an account. The sandbox has none.
LIVE_MARKET_FEED, LIVE_ORDER_FEED = Host("advanced-trade-ws.coinbase.com"), Host("advanced-trade-ws-user.coinbase.com")
# The longest life of a token that it allows.
TOKEN_SECONDS = 120
# Below the limits reported for the real exchange (30/s private, 10/s public): bursts of others share the same key.
PRIVATE_PER_SECOND = 10.0
PUBLIC_PER_SECOND = 5.0
