"""Functions that are given arrays plan their statements once for each connection, not at every call.

Of an array that the planner sees it finds that so few elements are cheaper than those it assumes, and plans anew; that takes
longer than what is planned.
"""

from alembic import op

revision = "0021"
down_revision = "0020"

_GIVEN_ARRAYS = (
    "intent_facts(uuid[], text[], text[], int)",
    "lock_orders(uuid[], text[])",
    "begin_requests(text[], text[], uuid[], bigint[])",
    "orders_of_locked(uuid[])",
)


def upgrade() -> None:
    """Pins the plans of each."""
    for function in _GIVEN_ARRAYS:
        op.execute(f"ALTER FUNCTION {function} SET plan_cache_mode = force_generic_plan")
