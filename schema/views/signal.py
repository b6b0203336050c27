"""What svc_signal reads of others besides what it shares: candles with their place in the stream."""

from schema.market import crypto_prices
from schema.views.base import part, view

signal_candles = view(
    "signal_candles",
    part(crypto_prices, "product_id granularity start open high low close volume sequence"),
)
