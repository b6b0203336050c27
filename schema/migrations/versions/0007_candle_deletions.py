"""The record of stored candles that an operator removed: who, why and what, with the candles themselves."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds two tables."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
