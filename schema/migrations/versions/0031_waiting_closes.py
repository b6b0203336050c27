"""A close that cannot be carried out at once is a row and waits; until now it was forgotten with its receipt."""

from pathlib import Path

from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """The table, and the alerts' views of closes with what waits in it."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
