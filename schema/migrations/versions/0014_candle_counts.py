"""How many candles are stored of each source is kept beside them, so that nobody counts millions of rows."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Adds the counts, counts what is stored, and keeps both equal from then on."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
