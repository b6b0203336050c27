"""An order that the exchange shows as open for long, or no longer shows, is reported as well."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Widens the view."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
