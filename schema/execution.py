"""Tables of svc_executor: orders, fills, positions, the ledger they follow from, and what others did in the account."""

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
    Column(
        "recommendation_id", Id, unique=True, comment="null for an operator's close of a position and for protection"
    ),
    Column("reservation_id", Id, unique=True, comment="null for an exit without the risk engine's word"),
    Column(
        "request_hash",
        Text,
        nullable=False,
        comment="sha256 of what was asked for: the recommendation, for a BUY its size, or the close",
    ),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quote_size", Amount, comment="BUY: quote amount that it may spend, fee inside"),
    Column("base_size", Amount, comment="base amount sent; null for a market order that buys"),
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
    Column("note", Text, nullable=False, server_default="", comment="an operator's words on a close"),
    Column("cancel_requested_at", Time, comment="machine time from which it is not sent any more"),
    Column(
        "search_from",
        Time,
        comment="a time of the exchange before the first send; null: unknown, all of its orders are searched",
    ),
    Column("done_at", Time, comment="machine time the exchange first called it done"),
    Column("done_size", Amount, comment="base units that were filled when the exchange called it done; null: not told"),
    Column(
        "watch_until", Time, comment="machine time until which an ended order is still searched for at the exchange"
    ),
    Column("adopted_at", Time, comment="machine time an order that had ended without it turned up at the exchange"),
    Column("purpose", Text, nullable=False, comment="what it is for; PROTECTION leaves what nobody decided to leave"),
    Column("order_type", Text, nullable=False, server_default="MARKET"),
    Column("entry_order_id", Id, comment="PROTECTION: the newest entry of its position; null for what was adopted"),
    Column("stop_price", Amount, comment="PROTECTION: it sells at or below"),
    Column("target_price", Amount, comment="PROTECTION: it sells at or above"),
    Column("exit_time", Time, comment="PROTECTION: market time from which it sells; null: no limit"),
    Column("trigger", Text, comment="PROTECTION: why a market order of it was sent"),
    Column("triggered_at", Time, comment="PROTECTION: machine time at which one that waited was to be sent"),
    Column("limit_price", Amount, comment="LIMIT, POST_ONLY: it buys at or below"),
    Column("end_time", Time, comment="LIMIT, POST_ONLY: time of the exchange at which the exchange ends it"),
    Column("cancel_reason", Text, comment="why its end was asked for, a reason code; null where it was not"),
    CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
    CheckConstraint("side = 'SELL' OR (recommendation_id IS NOT NULL AND reservation_id IS NOT NULL)", name="entry"),
    CheckConstraint(
        "(quote_size IS NULL) = (side = 'SELL') AND (base_size IS NULL) = (side = 'BUY' AND limit_price IS NULL)",
        name="size",
    ),
    CheckConstraint(
        "state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN', 'FILLED', 'CANCELLED', 'REJECTED')", name="state"
    ),
    CheckConstraint("purpose IN ('ENTRY', 'EXIT', 'CLOSE', 'PROTECTION')", name="purpose"),
    CheckConstraint("order_type IN ('MARKET', 'BRACKET', 'LIMIT', 'POST_ONLY')", name="order_type"),
    CheckConstraint(
        "(order_type IN ('LIMIT', 'POST_ONLY')) = (limit_price IS NOT NULL) AND (limit_price IS NULL) = (end_time IS NULL) "
        "AND (limit_price IS NULL OR side = 'BUY')",
        name="limit",
    ),
    CheckConstraint("trigger IN ('STOP', 'TARGET', 'TRAILING_STOP', 'TIME_LIMIT')", name="trigger"),
    CheckConstraint(
        "purpose <> 'PROTECTION' OR (side = 'SELL' AND recommendation_id IS NULL AND stop_price < target_price)",
        name="protection",
    ),
    Index("ix_orders_open", "product_id", postgresql_where=text("state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN')")),
    Index("ix_orders_protection", "product_id", "created_at", postgresql_where=text("purpose = 'PROTECTION'")),
    Index(
        "ix_orders_protection_ended",
        "product_id",
        "updated_at",
        postgresql_where=text("purpose = 'PROTECTION' AND state IN ('FILLED', 'CANCELLED', 'REJECTED')"),
    ),
    Index(
        "ix_orders_entries_resting",
        "product_id",
        postgresql_where=text("limit_price IS NOT NULL AND state IN ('PENDING', 'UNKNOWN', 'OPEN')"),
    ),
    Index("ix_orders_sold", "product_id", "updated_at", postgresql_where=text("side = 'SELL' AND filled_size > 0")),
    Index(
        "ix_orders_exits_due",
        "product_id",
        "updated_at",
        postgresql_where=text("purpose = 'PROTECTION' AND cancel_reason IN ('TIME_LIMIT', 'TRAILING_STOP')"),
    ),
    Index("ix_orders_product_as_of", "product_id", "as_of"),
    Index("ix_orders_watched", "watch_until", postgresql_where=text("watch_until IS NOT NULL")),
    Index("ix_orders_closes", "product_id", "created_at", postgresql_where=text("purpose = 'CLOSE'")),
    Index("ix_orders_adopted", "adopted_at", postgresql_where=text("adopted_at IS NOT NULL")),
    Index("ix_orders_updated_at", "updated_at"),
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
    Column("created_at", Time, nullable=False, server_default=func.now(), index=True),
    Index("ix_fills_sells", "product_id", "as_of", postgresql_where=text("side = 'SELL'")),
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
    Column(
        "entry_id",
        BigInteger,
        primary_key=True,
        autoincrement=True,
        comment="in the order of booking: given under the account lock; no time tells that order",
    ),
    Column("transaction_id", Text, nullable=False, index=True, comment="opening, fill id, adjustment:UUID; sums to 0"),
    Column("account", Text, nullable=False, comment="exchange, trading, fees, opening, unadopted or adjustments"),
    Column("currency", Text, nullable=False),
    Column("amount", Amount, nullable=False, comment="positive: the account received it"),
    Column("order_id", Id, ForeignKey("orders.order_id")),
    Column("as_of", Time, nullable=False, comment="market time"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Index("ix_ledger_entries_account_currency", "account", "currency"),
)

ledger_balances = Table(
    "ledger_balances",
    metadata,
    Column("account", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("amount", Amount, nullable=False, comment="sum of the ledger's entries; kept by their triggers"),
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
    Column("created_at", Time, nullable=False, server_default=func.now(), index=True),
    Column(
        "booking_sequence", BigInteger, comment="newest entry of the ledger that it compared; null: not kept before"
    ),
)

ledger_opening = Table(
    "ledger_opening",
    metadata,
    Column("ledger_id", Text, primary_key=True, comment="main"),
    Column("opened_at", Time, nullable=False, comment="exchange time; what was traded before is no news"),
    Column("fills_before", Json, nullable=False, comment="exchange ids of fills of this very moment that it holds"),
    Column("fills_seen_to", Time, nullable=False, comment="exchange time of the newest fill that was looked at"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Column("venue", Text, comment="where its orders go; null: not kept before, the next start says it"),
    Column(
        "portfolio",
        Text,
        nullable=False,
        server_default="",
        comment="with real money the exchange's id of the portfolio; else empty",
    ),
)

waiting_closes = Table(
    "waiting_closes",
    metadata,
    Column("order_id", Id, primary_key=True, comment="of the order that it makes"),
    Column("product_id", Text, nullable=False),
    Column(
        "size",
        Amount,
        nullable=False,
        comment="base units that it is to sell: all that was held when it was asked for, or the part that was not free",
    ),
    Column("note", Text, nullable=False, comment="the operator's words"),
    Column("reasons", Json, nullable=False, comment="what it waited for last, or why it ended without an order"),
    Column("created_at", Time, nullable=False, server_default=func.clock_timestamp()),
    Column("ended_at", Time, comment="machine time from which it is not tried any more"),
    Index("ix_waiting_closes_open", "product_id", postgresql_where=text("ended_at IS NULL")),
    Index("ix_waiting_closes_product_id", "product_id", "created_at"),
)

ledger_adjustments = Table(
    "ledger_adjustments",
    metadata,
    Column("adjustment_id", Id, primary_key=True),
    Column("request_id", Id, nullable=False, index=True),
    Column("body_sha256", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", Amount, nullable=False, comment="above 0: came in; an adoption changes no balance"),
    Column("cost", Amount, nullable=False, comment="change of what positions cost, account currency"),
    Column("equity_change", Amount, nullable=False, comment="account currency; no gain and no loss"),
    Column("answer", Json, nullable=False, comment="balances and position before and after, as answered"),
    Column("note", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column(
        "created_at",
        Time,
        nullable=False,
        server_default=func.clock_timestamp(),
        comment="under the account lock; not comparable with those of fills, which are their transactions'",
    ),
    CheckConstraint(
        "kind IN ('DEPOSIT', 'WITHDRAWAL', 'REWARD', 'CONVERSION', 'TRADE', 'CORRECTION', 'ADOPTION')", name="kind"
    ),
    Index("ix_ledger_adjustments_created_at", "created_at"),
)

foreign_orders = Table(
    "foreign_orders",
    metadata,
    Column("exchange_order_id", Text, primary_key=True),
    Column("client_order_id", Text, nullable=False, comment="empty if it has none"),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("status", Text, nullable=False, comment="the exchange's word"),
    Column("resting", Boolean, nullable=False, comment="seen among the open orders at the newest look"),
    Column("hold", Amount, nullable=False, comment="BUY: quote currency; SELL: base units"),
    Column("filled_size", Amount, nullable=False, comment="since the opening"),
    Column("filled_value", Amount, nullable=False, comment="since the opening, without fees"),
    Column("total_fees", Amount, nullable=False, comment="since the opening"),
    Column("created_time", Time, nullable=False, comment="exchange time"),
    Column("unbooked", Boolean, nullable=False, comment="its fills are not in the ledger yet"),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
    Index("ix_foreign_orders_live", "created_time", postgresql_where=text("resting OR unbooked")),
)

fee_tiers = Table(
    "fee_tiers",
    metadata,
    Column("fee_tier_id", BigInteger, primary_key=True, autoincrement=True),
    Column("maker", Amount, nullable=False, comment="share of the value"),
    Column("taker", Amount, nullable=False, comment="share of the value"),
    Column("tier", Text, nullable=False),
    Column("observed_at", Time, nullable=False, comment="machine time it was read last"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)
