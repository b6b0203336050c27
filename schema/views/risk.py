"""What svc_risk reads of others besides what it shares: the portfolio, the market, and what cooldowns are counted from."""

from sqlalchemy import Numeric, Text, and_, cast, or_, select, text

from schema.base import Time
from schema.execution import fills, ledger_balances, ledger_entries, orders, positions, reconciliations
from schema.market import crypto_prices, products
from schema.recommendations import llm_validation
from schema.views.base import part, view

_L, _B = ledger_entries.c, ledger_balances.c
_O = orders.c
_OPEN = _O.state.in_(["PENDING", "UNKNOWN", "OPEN"])

risk_positions = view("risk_positions", part(positions, "product_id base_size"))

# Orders that may still change the ledger; UNKNOWN counts like any other. What protects a position is no exit yet: an exit
# takes its place. It is here while it is UNKNOWN, for that alone.
risk_open_orders = view(
    "risk_open_orders",
    part(
        orders,
        "product_id side state quote_size base_size filled_size filled_value total_fees purpose done_size",
    ).where(and_(_OPEN, or_(_O.purpose != "PROTECTION", _O.state == "UNKNOWN"))),
)

# An order that bought something or still may is an entry.
risk_entries = view(
    "risk_entries",
    part(orders, "product_id as_of").where(and_(_O.side == "BUY", or_(_O.filled_size > 0, _OPEN))),
)

# The fills of SELL orders that lost on the whole; asked for the newest by its index, it reads few of them.
risk_losing_exits = view(
    "risk_losing_exits",
    text("""
  SELECT f.product_id, f.as_of
  FROM fills f
  WHERE f.side = 'SELL' AND (SELECT sum(g.realized_pnl) FROM fills g WHERE g.order_id = f.order_id) < 0
""").columns(product_id=Text, as_of=Time),
)

# What fills moved, in base units.
risk_fills = view("risk_fills", part(fills, "as_of product_id side size"))

# Cash by currency: what the exchange holds for us by our own ledger.
risk_cash = view(
    "risk_cash",
    select(_B.currency, cast(_B.amount, Numeric).label("amount")).where(_B.account == "exchange"),
)

# What orders moved of it.
risk_cash_changes = view(
    "risk_cash_changes",
    part(ledger_entries, "as_of currency amount").where(and_(_L.account == "exchange", _L.order_id.is_not(None))),
)

risk_newest_reconciliation = view(
    "risk_newest_reconciliation",
    part(reconciliations, "clean created_at").order_by(reconciliations.c.reconciliation_id.desc()).limit(1),
)

risk_products = view(
    "risk_products",
    part(
        products,
        "product_id base_increment quote_increment price_increment base_min_size quote_min_size tradable status",
    ),
)

risk_candles = view("risk_candles", part(crypto_prices, "product_id granularity start close volume"))

# The terms that a reviewer's enforced verdict lets pass.
risk_approvals = view(
    "risk_approvals",
    part(llm_validation, "recommendation_id request_hash").where(llm_validation.c.enforced == "APPROVE"),
)
