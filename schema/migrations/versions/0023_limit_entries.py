"""An entry may have a limit and rest: orders have its price and its end, and whatever was cancelled says why."""

from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Adds the columns, and puts what reads and writes them into their place."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
