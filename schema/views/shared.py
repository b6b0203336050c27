"""Views that the same code reads for several services."""

from sqlalchemy import func, select

from schema.execution import fee_tiers, ledger_entries
from schema.market import crypto_prices
from schema.recommendations import trade_recommendations
from schema.views.base import part, view

# What validator, risk engine and executor compare a request with (`schema.recommendation_terms`).
recommendation_terms = view(
    "recommendation_terms",
    part(
        trade_recommendations,
        "recommendation_id product_id side size reference_price as_of expire_at life_clock origin profile "
        "priority evidence note state cancel_requested_at exit_plan",
    ),
    readers=("executor", "risk", "validator"),
)

# What the exchange charges, for those who reckon with it.
fee_in_force = view(
    "fee_in_force",
    part(fee_tiers, "taker").order_by(fee_tiers.c.fee_tier_id.desc()).limit(1),
    readers=("risk", "signal"),
)

# The ledger's transaction of an adjustment is this and its id; that of a fill is the fill's id.
ADJUSTMENT_TRANSACTION = "adjustment:"
# In which order the ledger booked them: entries get their ids under the account lock, so the first of each transaction tells it,
# where times do not.
ledger_bookings = view(
    "ledger_bookings",
    select(ledger_entries.c.transaction_id, func.min(ledger_entries.c.entry_id).label("booking_sequence")).group_by(
        ledger_entries.c.transaction_id
    ),
    readers=("executor", "monitor"),
)

# Closed candles, as `modelkit.candle_reader` reads them for features and for training.
model_candles = view(
    "model_candles",
    part(crypto_prices, "product_id granularity start open high low close volume"),
    readers=("signal", "training"),
)
