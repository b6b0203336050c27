"""The orders that a person must hear of, with what is to be said of each."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Widens the view."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
