"""Tables of svc_market: closed candles and how many there are, products, and refused rows."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, func

from schema.base import Amount, Id, Time, metadata

crypto_prices = Table(
    "crypto_prices",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("granularity", Integer, primary_key=True, comment="seconds"),
    Column("start", Time, primary_key=True, comment="open time of the bar, UTC"),
    Column("open", Amount, nullable=False),
    Column("high", Amount, nullable=False),
    Column("low", Amount, nullable=False),
    Column("close", Amount, nullable=False),
    Column("volume", Amount, nullable=False, comment="base units"),
    Column("source", Text, nullable=False, comment="exchange:VENUE or file:NAME"),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    CheckConstraint("low > 0 AND low <= least(open, close) AND high >= greatest(open, close)", name="prices"),
    CheckConstraint("volume >= 0", name="volume"),
    # NaN is greater than every number to PostgreSQL, so it passes the checks above.
    CheckConstraint("high <> 'NaN' AND close <> 'NaN' AND volume <> 'NaN'", name="numbers"),
    CheckConstraint("start >= '1970-01-01Z' AND start < '2200-01-01Z'", name="start"),
    Index("ix_crypto_prices_granularity_start", "granularity", "start"),
)

candle_counts = Table(
    "candle_counts",
    metadata,
    Column("source", Text, primary_key=True, comment="as in crypto_prices"),
    Column(
        "candles",
        BigInteger,
        nullable=False,
        comment="rows of crypto_prices with this source; kept by their triggers",
    ),
)

products = Table(
    "products",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("base_increment", Amount, nullable=False),
    Column("quote_increment", Amount, nullable=False),
    Column("price_increment", Amount, nullable=False),
    Column("base_min_size", Amount, nullable=False),
    Column("quote_min_size", Amount, nullable=False),
    Column("tradable", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("followed", Boolean, nullable=False),
    Column("observed_at", Time, nullable=False),
)

candle_refusals = Table(
    "candle_refusals",
    metadata,
    Column("refusal_id", BigInteger, primary_key=True, autoincrement=True),
    Column("product_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("row_text", Text, nullable=False, comment="the refused row, at most 500 characters"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)

candle_deletions = Table(
    "candle_deletions",
    metadata,
    Column("request_id", Id, primary_key=True),
    Column("product_id", Text, nullable=False),
    Column("granularity", Integer, nullable=False, comment="seconds"),
    Column("start_time", Time, nullable=False),
    Column("end_time", Time, nullable=False),
    Column("source", Text, nullable=False, comment="only candles of this source; empty: of any"),
    Column("count", Integer, nullable=False),
    Column("caller", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)

deleted_candles = Table(
    "deleted_candles",
    metadata,
    Column("sequence", BigInteger, primary_key=True, comment="the candle's place in the stream while it was stored"),
    Column("request_id", Id, ForeignKey("candle_deletions.request_id"), nullable=False),
    Column("product_id", Text, nullable=False),
    Column("granularity", Integer, nullable=False, comment="seconds"),
    Column("start", Time, nullable=False),
    *(Column(name, Amount, nullable=False) for name in ("open", "high", "low", "close", "volume")),
    Column("source", Text, nullable=False),
)
