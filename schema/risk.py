"""Tables of svc_risk: assessments, reservations of headroom, locks, equity, and the account row that is locked."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from schema.base import Amount, Id, Json, Time, metadata

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True, comment="one row: main; locked by every change of exposure"),
    Column("trading_state", Text, nullable=False, server_default="ACTIVE"),
    Column("trading_state_note", Text, nullable=False, server_default=""),
    Column("high_water_mark", Amount, comment="highest equity; null before the first snapshot"),
    Column("snapshot_version", Integer, nullable=False, server_default="0"),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
    CheckConstraint("trading_state IN ('ACTIVE', 'REDUCING', 'HALTED')", name="trading_state"),
)

risk_assessments = Table(
    "risk_assessments",
    metadata,
    Column("assessment_id", Id, primary_key=True),
    Column("recommendation_id", Id, nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("request_hash", Text, nullable=False, comment="sha256 of the recommendation assessed"),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("requested_size", Amount, nullable=False),
    Column("adjusted_size", Amount, nullable=False),
    Column("score", Double, nullable=False),
    Column("parts", Json, nullable=False),
    Column("sigma_14d", Double, nullable=False),
    Column("heat_before", Double, nullable=False),
    Column("heat_after", Double, nullable=False),
    Column("exposure_before", Amount, nullable=False),
    Column("exposure_after", Amount, nullable=False),
    Column("equity", Amount, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("snapshot", Json, nullable=False, comment="every input that influenced the decision"),
    Column("limits_version", Text, nullable=False),
    Column("ticket", Text, nullable=False, server_default="", comment="signed JWT; empty for REJECT"),
    Column("as_of", Time, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    UniqueConstraint("recommendation_id", "attempt", name="uq_risk_assessments_attempt"),
)

risk_reservations = Table(
    "risk_reservations",
    metadata,
    Column("reservation_id", Id, ForeignKey("risk_assessments.assessment_id"), primary_key=True),
    Column("recommendation_id", Id, nullable=False, index=True),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("quote_amount", Amount, nullable=False, comment="BUY: notional held; SELL: 0"),
    Column("fee_amount", Amount, nullable=False, comment="fee held, quote currency"),
    Column("base_amount", Amount, nullable=False, comment="SELL: base units held; BUY: 0"),
    Column("heat", Double, nullable=False),
    Column("state", Text, nullable=False, server_default="HELD"),
    Column("expires_at", Time, nullable=False, comment="machine time"),
    Column("as_of", Time, nullable=False, comment="market time, for the order rate"),
    Column("order_id", Id, comment="set on commit"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
    CheckConstraint("state IN ('HELD', 'COMMITTED', 'RELEASED', 'EXPIRED')", name="state"),
    Index("ix_risk_reservations_held", "product_id", postgresql_where=text("state = 'HELD'")),
    Index("ix_risk_reservations_as_of", "as_of"),
)

risk_locks = Table(
    "risk_locks",
    metadata,
    Column("lock_id", Id, primary_key=True),
    Column("code", Text, nullable=False),
    Column("scope", Text, nullable=False, comment="account or product:BTC-USD"),
    Column("from_time", Time, nullable=False, comment="market time"),
    Column("until_time", Time, comment="market time; null until an operator resets it"),
    Column("reason", Json, nullable=False),
    Column("released_at", Time, comment="machine time; null while in force or run out"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Index("ix_risk_locks_live", "code", "scope", postgresql_where=text("released_at IS NULL")),
)

equity_snapshots = Table(
    "equity_snapshots",
    metadata,
    Column("as_of", Time, primary_key=True, comment="market time"),
    Column("equity", Amount, nullable=False),
    Column("cash", Amount, nullable=False),
    Column("exposure", Amount, nullable=False),
    Column("heat", Double, nullable=False),
    Column("drawdown", Double, nullable=False),
    Column("transferred", Amount, nullable=False, server_default="0", comment="brought in or out after this mark"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)
