"""Tables that operate the mesh: health and alerts (svc_monitor), watermarks, stream heads and stored requests."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, func, text

from schema.base import Id, Time, metadata

health_events = Table(
    "health_events",
    metadata,
    Column("event_id", BigInteger, primary_key=True, autoincrement=True),
    Column("service", Text, nullable=False),
    Column("health_name", Text, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", Id, primary_key=True),
    Column("code", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("raised_at", Time, nullable=False),
    Column("resolved_at", Time),
    Column("acknowledged_at", Time),
    Column("acknowledged_by", Text, nullable=False, server_default=""),
    Column("acknowledge_note", Text, nullable=False, server_default=""),
    Column("sequence", BigInteger, nullable=False, unique=True, comment="of the newest change"),
    Index("uq_alerts_raised", "code", "scope", unique=True, postgresql_where=text("resolved_at IS NULL")),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("stage", Text, primary_key=True, comment="market, signal, bridge or orchestrator; each writes its own"),
    Column("as_of", Time, nullable=False, comment="newest market time fully dealt with"),
    Column("sequence", BigInteger, nullable=False, comment="head of the stage's stream at that moment"),
    Column("updated_at", Time, nullable=False, server_default=func.now()),
)

stream_heads = Table(
    "stream_heads",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("head", BigInteger, nullable=False),
)

stored_requests = Table(
    "stored_requests",
    metadata,
    Column("service", Text, primary_key=True),
    Column("caller", Text, primary_key=True, comment="identity that sent it; nobody can use up another's ids"),
    Column("request_id", Id, primary_key=True),
    Column("method", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
)
