"""Tables of svc_executor: orders, fills, positions, and the double-entry ledger they follow from."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    func,
    text,
)

from schema.base import Amount, Id, Json, Time, metadata

orders = Table(
    "orders",
    metadata,
    Column("order_id", Id, primary_key=True, comment="also the client_order_id on the exchange"),
    Column("recommendation_id", Id, nullable=False, unique=True),
    Column("reservation_id", Id, nullable=False, unique=True),
    Column("request_hash", Text, nullable=False, comment="sha256 of recommendation and size"),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quote_size", Amount, comment="BUY: quote amount sent"),
    Column("base_size", Amount, comment="SELL: base amount sent"),
    Column("body", Text, nullable=False, comment="the exact request body; every send is this, byte for byte"),
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("exchange_order_id", Text, unique=True),
    Column("filled_size", Amount, nullable=False, server_default="0"),
    Column("filled_value", Amount, nullable=False, server_default="0"),
    Column("total_fees", Amount, nullable=False, server_default="0"),
    Column("reasons", Json, nullable=False, server_default=text("'[]'::jsonb")),
    Column("venue", Text, nullable=False),
    Column("ticket_id", Text, nullable=False),
    Column("as_of", Time, nullable=False),
    Column("reference_price", Amount, nullable=False),
    Column("expire_at", Time, nullable=False, comment="machine time after which an unsent entry is not sent"),
    Column("send_count", Integer, nullable=False, server_default="0"),
    Column("sent_at", Time, comment="machine time of the newest send"),
    Column("sequence", BigInteger, nullable=False, unique=True, comment="of the newest change"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
    CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
    CheckConstraint("(quote_size IS NULL) <> (base_size IS NULL)", name="size"),
    CheckConstraint("state IN ('PENDING', 'UNKNOWN', 'OPEN', 'FILLED', 'CANCELLED', 'REJECTED')", name="state"),
    Index("ix_orders_open", "product_id", postgresql_where=text("state IN ('PENDING', 'UNKNOWN', 'OPEN')")),
    Index("ix_orders_product_as_of", "product_id", "as_of"),
)

fills = Table(
    "fills",
    metadata,
    Column("fill_id", Text, primary_key=True, comment="the exchange's entry id"),
    Column("order_id", Id, ForeignKey("orders.order_id"), nullable=False, index=True),
    Column("trade_id", Text, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("price", Amount, nullable=False),
    Column("size", Amount, nullable=False, comment="base units"),
    Column("commission", Amount, nullable=False, comment="quote currency"),
    Column("liquidity", Text, nullable=False),
    Column("realized_pnl", Amount, nullable=False, comment="SELL: proceeds less fee and average cost; BUY: 0"),
    Column("trade_time", Time, nullable=False, comment="exchange time"),
    Column("as_of", Time, nullable=False, comment="market time of the order's decision"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)

positions = Table(
    "positions",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("base_size", Amount, nullable=False),
    Column("cost", Amount, nullable=False, comment="quote cost of what is held, buying fees inside"),
    Column("realized_pnl", Amount, nullable=False),
    Column("total_fees", Amount, nullable=False),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
    CheckConstraint("base_size >= 0", name="base_size"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=True),
    Column("transaction_id", Text, nullable=False, index=True, comment="opening or a fill id; sums to 0 per currency"),
    Column("account", Text, nullable=False, comment="exchange, trading, fees or opening"),
    Column("currency", Text, nullable=False),
    Column("amount", Amount, nullable=False, comment="positive: the account received it"),
    Column("order_id", Id, ForeignKey("orders.order_id")),
    Column("as_of", Time, nullable=False, comment="market time"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Index("ix_ledger_entries_account_currency", "account", "currency"),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("reconciliation_id", BigInteger, primary_key=True, autoincrement=True),
    Column("clean", Boolean, nullable=False, comment="every balance equal, no order unknown"),
    Column("orders_checked", Integer, nullable=False),
    Column("orders_settled", Integer, nullable=False),
    Column("orders_unknown", Integer, nullable=False),
    Column("balances", Json, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)
