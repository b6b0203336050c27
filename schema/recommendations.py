"""Tables of the bridge and the orchestrator: recommendations, their changes of state, and each signal's outcome."""

from sqlalchemy import (
    BigInteger,
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

OPEN_STATES = "('PROPOSED', 'IN_REVIEW', 'EXECUTING')"

trade_recommendations = Table(
    "trade_recommendations",
    metadata,
    Column("recommendation_id", Id, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("signal_id", Id, unique=True, comment="null on an operator's recommendation"),
    Column("request_id", Id, unique=True, comment="null on a signal's recommendation"),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("size", Amount, nullable=False, comment="quote currency for BUY, base units for SELL"),
    Column("reference_price", Amount, nullable=False),
    Column("as_of", Time, nullable=False),
    Column("expire_at", Time, nullable=False),
    Column("life_clock", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("priority", Double, nullable=False),
    Column("evidence", Json, comment="null on an operator's recommendation"),
    Column("note", Text, nullable=False, server_default=""),
    Column("exit_plan", Json, comment="BUY: how what it buys is left; null leaves that to the executor"),
    # From here on the orchestrator's.
    Column("state", Text, nullable=False, server_default="PROPOSED"),
    Column("decided_by", Text, nullable=False, server_default="bridge"),
    Column("reasons", Json, nullable=False, server_default=text("'[]'::jsonb")),
    Column("adjusted_size", Amount),
    Column("order_id", Id),
    Column("lease_owner", Text),
    Column("lease_expires_at", Time, comment="machine time"),
    Column("not_before", Time, comment="machine time before which a delayed item is not tried again"),
    Column("wait_for_market", Time, comment="market time that an item waits for; null if none"),
    Column("delays", Integer, nullable=False, server_default="0"),
    Column("sequence", BigInteger, nullable=False, unique=True, comment="of the newest change"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
    Column("delay_reason", Json, comment="why it was put back last; null if it never was"),
    Column("delayed_since", Time, comment="machine time it was put back first, from which retries are bounded"),
    Column("cancel_requested_at", Time, comment="machine time an operator cancelled it; nothing new is done for it"),
    Column("cancel_note", Text, nullable=False, server_default="", comment="the operator's words on that"),
    CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
    CheckConstraint("size > 0", name="size"),
    CheckConstraint(
        "state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING', 'EXECUTED', 'REJECTED', 'EXPIRED', 'FAILED')", name="state"
    ),
    CheckConstraint("(signal_id IS NULL) <> (request_id IS NULL)", name="origin"),
    Index(
        "ix_trade_recommendations_open",
        "side",
        "priority",
        postgresql_where=text(f"state IN {OPEN_STATES}"),
    ),
    Index("ix_trade_recommendations_product_as_of", "product_id", "as_of"),
)

recommendation_events = Table(
    "recommendation_events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("recommendation_id", Id, ForeignKey("trade_recommendations.recommendation_id"), nullable=False, index=True),
    Column("from_state", Text, comment="null on the first"),
    Column("to_state", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("as_of", Time, nullable=False, comment="market time"),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)

signal_outcomes = Table(
    "signal_outcomes",
    metadata,
    Column("signal_id", Id, primary_key=True),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("outcome", Text, nullable=False, comment="RECOMMENDED or SKIPPED"),
    Column("reasons", Json, nullable=False),
    Column("recommendation_id", Id, comment="null if skipped"),
    Column("as_of", Time, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Index("ix_signal_outcomes_product_as_of", "product_id", "as_of"),
)

bridge_cursors = Table(
    "bridge_cursors",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False, comment="newest signal dealt with"),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
)

llm_validation = Table(
    "llm_validation",
    metadata,
    Column("review_id", BigInteger, primary_key=True, autoincrement=True),
    Column("validation_id", Id, nullable=False, index=True, comment="one per recommendation; one row per reviewer"),
    Column("recommendation_id", Id, nullable=False, index=True),
    Column("product_id", Text, nullable=False),
    Column("reviewer", Text, nullable=False, comment="rules or ollama"),
    Column("outcome", Text, nullable=False),
    Column("enforced", Text, comment="APPROVE or REJECT on the row that decided, null on the others"),
    Column("mode", Text, nullable=False, comment="VETO or SHADOW"),
    Column("reasons", Json, nullable=False),
    Column("model", Text, nullable=False, server_default=""),
    Column("model_digest", Text, nullable=False, server_default=""),
    Column("server_version", Text, nullable=False, server_default=""),
    Column("prompt_version", Text, nullable=False, server_default=""),
    Column("prompt_sha256", Text, nullable=False, server_default=""),
    Column("request_hash", Text, nullable=False, comment="sha256 of the recommendation reviewed"),
    Column("inputs", Json, nullable=False),
    Column("options", Json, nullable=False),
    Column("raw_output", Text, nullable=False, server_default="", comment="at most 4,096 characters"),
    Column("latency_ms", Double, nullable=False),
    Column("timings", Json, nullable=False, comment="queue, load, prompt and eval milliseconds, tokens"),
    Column("error", Text, nullable=False, server_default=""),
    Column("trace_id", Text, nullable=False, server_default=""),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    UniqueConstraint("validation_id", "reviewer", name="uq_llm_validation_reviewer"),
    Index(
        "ix_llm_validation_enforced", "recommendation_id", unique=True, postgresql_where=text("enforced IS NOT NULL")
    ),
)
