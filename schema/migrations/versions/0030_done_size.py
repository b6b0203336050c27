"""What the exchange says was filled of an order when it is done: the rest of it may be sold, whenever its fills are listed."""

from pathlib import Path

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """The column, and what is held by open sell orders by it; the newest change of an order stays what it was at the word
    that nothing comes after."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
