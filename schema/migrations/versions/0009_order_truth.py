"""A send is counted by one statement under the account lock; what an order's end leaves open is watched for a day."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds what resolving an order needs, the function that counts a send, and the view of orders that need a person."""
    script = Path(__file__).with_suffix(".sql").read_text()
    for statement in script.split("\n--;\n"):
        op.get_bind().exec_driver_sql(statement)
