"""Each service acts as a role of its own: functions lend it what its own rights do not reach, and what is written once stays.

The roles and their rights are given after every migration (`schema.roles`), as roles belong to a server and not to a database.
"""

from pathlib import Path

from alembic import op

revision = "0026"
down_revision = "0025"

# Called by a service that may not touch what they touch, or triggers that alone keep a table of sums.
_LEND_RIGHTS = (
    *("lock_recommendation", "lock_account", "risk_commit", "risk_transfer"),
    *("set_trading_state", "begin_start", "end_start"),
    *("count_added_candles", "count_removed_candles", "forget_candle_counts"),
    *("add_to_ledger_balances", "take_from_ledger_balances", "forget_ledger_balances"),
)
_APPEND_ONLY = (
    *("candle_refusals", "candle_deletions", "deleted_candles"),
    *("trading_signals", "model_changes", "shadow_signals", "matured_labels", "model_drift"),
    *("signal_outcomes", "recommendation_events", "llm_validation", "risk_assessments"),
    *("fills", "ledger_entries", "ledger_adjustments"),
    *("health_events", "stored_requests"),
)


def upgrade() -> None:
    """Functions that lend rights, and a trigger on each table whose rows stay as they were written."""
    for function in _LEND_RIGHTS:
        # Temporary tables come last: by themselves they come first, and a caller's would stand for a table of the same name.
        op.execute(f"ALTER FUNCTION {function} SECURITY DEFINER SET search_path = public, pg_temp")
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
