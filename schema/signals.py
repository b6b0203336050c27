"""Tables of svc_signal: one signal per product and bar, the models that decided, and what became of what they said."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from schema.base import Amount, Id, Json, Time, metadata

SIGNAL_NUMBERS = ("confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon")
"""The doubles of a signal: fields of the contract and columns of the table by the same names."""

trading_signals = Table(
    "trading_signals",
    metadata,
    Column("signal_id", Id, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("granularity", Integer, nullable=False, comment="seconds"),
    Column("bar_start", Time, nullable=False),
    Column("as_of", Time, nullable=False),
    Column("side", Text, nullable=False, comment="BUY, SELL or HOLD"),
    *(Column(name, Double, nullable=False) for name in SIGNAL_NUMBERS),
    Column("reference_price", Amount, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("feature_set_hash", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("features", ARRAY(Double), nullable=False, comment="51 values in their order; empty if not ready"),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    # The close first: rows of a bar are written, and looked for, side by side.
    UniqueConstraint("as_of", "product_id", "run_id", "granularity", name="uq_trading_signals_bar"),
)

models = Table(
    "models",
    metadata,
    Column("model_version", Text, primary_key=True),
    Column("manifest", Json, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
    Column("first_loaded_at", Time, nullable=False, server_default=func.now()),
    Column("last_loaded_at", Time, nullable=False, server_default=func.now()),
)

model_roles = Table(
    "model_roles",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False, comment="always 1: there is one row"),
    Column("champion", Text, comment="the version that decides"),
    Column("challenger", Text, comment="the version that predicts in shadow"),
    Column("previous", Text, comment="the champion before, for a rollback"),
    Column("changed_at", Time, nullable=False, server_default=func.now()),
    CheckConstraint("one = 1", name="one"),
)

model_changes = Table(
    "model_changes",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, comment="ADOPTED, CHALLENGED, PROMOTED or ROLLED_BACK"),
    Column("model_version", Text, nullable=False),
    Column("previous_version", Text, nullable=False, server_default=""),
    Column("caller", Text, nullable=False, server_default="", comment="empty: the service itself"),
    Column("note", Text, nullable=False, server_default=""),
    Column("evidence", Json, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)

shadow_signals = Table(
    "shadow_signals",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("granularity", Integer, nullable=False, comment="seconds"),
    Column("bar_start", Time, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("side", Text, nullable=False, comment="what the challenger would have said; never traded"),
    Column("p_down", Double, nullable=False),
    Column("p_neutral", Double, nullable=False),
    Column("p_up", Double, nullable=False),
    PrimaryKeyConstraint("run_id", "model_version", "granularity", "bar_start", "product_id"),
)

matured_labels = Table(
    "matured_labels",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("granularity", Integer, nullable=False, comment="seconds"),
    Column("bar_start", Time, nullable=False),
    Column("product_id", Text, nullable=False),
    Column("model_version", Text, nullable=False, comment="the champion whose label rule and signal this is"),
    Column("outcome", SmallInteger, nullable=False, comment="0 DOWN, 1 NEUTRAL, 2 UP"),
    Column("next_return", Double, nullable=False, comment="log return from the next open to the open after it"),
    PrimaryKeyConstraint("run_id", "granularity", "bar_start", "product_id"),
)

model_drift = Table(
    "model_drift",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("as_of", Time, nullable=False),
    Column("report", Json, nullable=False),
    Column("suspended", Boolean, nullable=False, comment="true while the evidence profile says HOLD for it"),
    PrimaryKeyConstraint("run_id", "model_version", "as_of"),
)

feature_states = Table(
    "feature_states",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("granularity", Integer, nullable=False, comment="seconds"),
    Column("feature_set_hash", Text, nullable=False),
    Column("last_bar", BigInteger, nullable=False, comment="absolute bar number of the newest bar in it"),
    Column("candle_sequence", BigInteger, nullable=False, comment="every candle up to it is in the state"),
    Column("content", LargeBinary, nullable=False),
    Column("saved_at", Time, nullable=False, server_default=func.now()),
    Column("shard", Text, nullable=False, server_default="", comment="share of the products, as 0/2; empty for all"),
    PrimaryKeyConstraint("run_id", "granularity", "shard"),
)
