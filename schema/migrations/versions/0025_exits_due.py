"""What a bracket protected is sold when its own time or trailing stop has come, whatever was bought after it."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """The newest sale of a product, and the protective orders that ended for their time, are found by an index."""
    op.execute("CREATE INDEX ix_orders_sold ON orders (product_id, updated_at) WHERE side = 'SELL' AND filled_size > 0")
    op.execute(
        "CREATE INDEX ix_orders_exits_due ON orders (product_id, updated_at) "
        "WHERE purpose = 'PROTECTION' AND cancel_reason IN ('TIME_LIMIT', 'TRAILING_STOP')"
    )
