"""Orders of an operator's close stand for no recommendation; the trading state changes in one place and wakes listeners."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Loosens what a close does not have, and adds the switch's function."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
