"""A recommendation's evidence holds its feature row as numbers in their order, as its signal does; the hash names them."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Drops the names from evidence that has them."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
