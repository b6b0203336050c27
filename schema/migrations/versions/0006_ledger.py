"""The ledger knows what others did in the account, an operator's adjustments of it, and what the exchange charges."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the tables, the view of the fee in force, and what risk does with money that was moved in or out."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
