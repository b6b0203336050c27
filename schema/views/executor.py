"""What svc_executor reads of others besides what it shares: the trading state, and prices to value and protect what is held."""

from sqlalchemy import Integer, Text, text

from schema.base import Amount
from schema.market import crypto_prices
from schema.risk import accounts
from schema.views.base import part, view

executor_trading_state = view(
    "executor_trading_state",
    part(accounts, "trading_state trading_state_note trading_state_set_by").where(accounts.c.account_id == "main"),
)

# Close of the newest closed candle of every product and granularity.
executor_latest_closes = view(
    "executor_latest_closes",
    text("""
  SELECT kind.product_id, kind.granularity, newest.close
  FROM (
    SELECT p.product_id, g.granularity FROM products p CROSS JOIN (VALUES (60), (300), (900), (3600), (86400)) g (granularity)
  ) kind
  CROSS JOIN LATERAL (
    SELECT close FROM crypto_prices c
    WHERE c.product_id = kind.product_id AND c.granularity = kind.granularity ORDER BY start DESC LIMIT 1
  ) newest
""").columns(product_id=Text, granularity=Integer, close=Amount),
)

# What a trailing stop follows.
executor_candle_highs = view("executor_candle_highs", part(crypto_prices, "product_id granularity start high"))
