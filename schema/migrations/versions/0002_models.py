"""Champion and challenger, what became of their predictions, drift, and the saved state of the features."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the tables and the one row of roles."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
    op.execute("INSERT INTO model_roles (one) VALUES (1)")
