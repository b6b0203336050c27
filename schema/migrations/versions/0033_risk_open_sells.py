"""The risk engine is given what an open order is for, and what was filled of it when it was done.

An UNKNOWN order that protects a position held its coins back from the position's own exit; so did the unsold rest of a close
that was cancelled.
"""

from pathlib import Path

from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Both as columns of its view of open orders."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
