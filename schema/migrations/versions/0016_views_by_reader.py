"""Each reader of another service's tables has views of its own, and locks them by functions of their owner."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Replaces the views, adds the functions, and drops a table that nothing used."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
