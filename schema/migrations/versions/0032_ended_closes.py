"""A close that waited and ended without an order has failed, whatever ended it; and a part that was not free waits like one."""

from pathlib import Path

from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Declares the alert's view anew, and what the size of a waiting close is."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
