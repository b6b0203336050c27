"""Fills, adjustments and reconciliations tell their place in the order in which the ledger booked."""

from pathlib import Path

from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """A view of that order, and what reads it. Rows of before have it too: their entries tell it."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
