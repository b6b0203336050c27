"""Tables of svc_signal: one signal per product and bar, and the models that decided."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY

from schema.base import Amount, Id, Json, Time, metadata

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
    Column("confidence", Double, nullable=False),
    Column("p_down", Double, nullable=False),
    Column("p_neutral", Double, nullable=False),
    Column("p_up", Double, nullable=False),
    Column("edge", Double, nullable=False),
    Column("expected_net", Double, nullable=False),
    Column("sigma_horizon", Double, nullable=False),
    Column("reference_price", Amount, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("feature_set_hash", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("features", ARRAY(Double), nullable=False, comment="51 values in their order; empty if not ready"),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    UniqueConstraint("run_id", "product_id", "granularity", "bar_start", name="uq_trading_signals_bar"),
    Index("ix_trading_signals_as_of", "as_of"),
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
