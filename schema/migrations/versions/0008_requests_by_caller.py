"""Stored requests are keyed by their caller too, so that nobody can use up the ids of another."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Names the caller of what is stored and puts it into the key."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
