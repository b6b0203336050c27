"""Signals may come from several processes, each of which decides a share of the products."""

from pathlib import Path

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """A saved state of the features per share, and a watermark of the stage that follows the slowest of them."""
    op.execute("ALTER TABLE feature_states ADD COLUMN shard text NOT NULL DEFAULT ''")
    op.execute("COMMENT ON COLUMN feature_states.shard IS 'share of the products, as 0/2; empty for all'")
    op.execute("ALTER TABLE feature_states DROP CONSTRAINT pk_feature_states")
    op.execute("ALTER TABLE feature_states ADD CONSTRAINT pk_feature_states PRIMARY KEY (run_id, granularity, shard)")
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
