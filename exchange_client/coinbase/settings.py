"""Coinbase's addresses and limits."""

from meshkit.hosts import Host

LIVE_HOST = Host("api.coinbase.com")
SANDBOX_HOST = Host("api-sandbox.coinbase.com")
# The longest life of a token that it allows.
TOKEN_SECONDS = 120
# Below the limits reported for the real exchange (30/s private, 10/s public): bursts of others share the same key.
PRIVATE_PER_SECOND = 10.0
PUBLIC_PER_SECOND = 5.0
