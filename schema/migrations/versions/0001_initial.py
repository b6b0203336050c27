"""The first schema: every table of the pipeline, the shared SQL functions and the read views."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates everything and the one account row."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
    op.execute("INSERT INTO accounts (account_id) VALUES ('main')")
