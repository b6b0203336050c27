"""Who owns each table and each SQL function, and what every reader may touch besides.

An owner alone writes its tables. From this, and from the readers of the views, each service gets a database role of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Table

from schema.execution import (
    fee_tiers,
    fills,
    foreign_orders,
    ledger_adjustments,
    ledger_balances,
    ledger_entries,
    ledger_opening,
    orders,
    positions,
    reconciliations,
    waiting_closes,
)
from schema.market import candle_counts, candle_deletions, candle_refusals, crypto_prices, deleted_candles, products
from schema.operations import alerts, health_events, stored_requests, stream_heads, watermarks
from schema.recommendations import (
    bridge_cursors,
    llm_validation,
    recommendation_events,
    signal_outcomes,
    trade_recommendations,
)
from schema.risk import accounts, equity_snapshots, risk_assessments, risk_locks, risk_reservations
from schema.signals import (
    feature_states,
    matured_labels,
    model_changes,
    model_drift,
    model_roles,
    models,
    shadow_signals,
    trading_signals,
)
from schema.views import readers_of, views

OWNED: Mapping[str, tuple[Table, ...]] = {
    "market": (crypto_prices, candle_counts, products, candle_refusals, candle_deletions, deleted_candles),
    "signal": (
        trading_signals,
        models,
        model_roles,
        model_changes,
        shadow_signals,
        matured_labels,
        model_drift,
        feature_states,
    ),
    "bridge": (signal_outcomes, bridge_cursors),
    "orchestrator": (trade_recommendations, recommendation_events),
    "validator": (llm_validation,),
    "risk": (accounts, risk_assessments, risk_reservations, risk_locks, equity_snapshots),
    "executor": (
        orders,
        fills,
        positions,
        ledger_entries,
        ledger_balances,
        reconciliations,
        ledger_opening,
        ledger_adjustments,
        foreign_orders,
        fee_tiers,
        waiting_closes,
    ),
    "monitor": (health_events, alerts),
}
# Of these each service has rows of its own, by stage, stream or service name, and reads those of the others.
SHARED = (watermarks, stream_heads, stored_requests)
# The one exception: the bridge writes the first row of a recommendation and its first event, the orchestrator all others.
INSERTED: Mapping[str, tuple[Table, ...]] = {"bridge": (trade_recommendations, recommendation_events)}
# Of these it shows what it inserted, as it stands now.
SHOWN: Mapping[str, tuple[Table, ...]] = {"bridge": (trade_recommendations,)}
# Who is no service. The `mesh` command migrates the database, so it is its owner; a replay's result is read from these.
READ: Mapping[str, tuple[Table, ...]] = {
    "training": (watermarks,),
    "cli": (
        watermarks,
        crypto_prices,
        trading_signals,
        model_roles,
        signal_outcomes,
        trade_recommendations,
        llm_validation,
        risk_assessments,
        equity_snapshots,
        orders,
        fills,
        positions,
        ledger_entries,
    ),
}
# What is written once: decisions, evidence and the ledger. Nobody may change or delete a row of it, and a trigger refuses it to
# the owner of the database too.
APPEND_ONLY = (
    candle_refusals,
    candle_deletions,
    deleted_candles,
    trading_signals,
    model_changes,
    shadow_signals,
    matured_labels,
    model_drift,
    signal_outcomes,
    recommendation_events,
    llm_validation,
    risk_assessments,
    fills,
    ledger_entries,
    ledger_adjustments,
    health_events,
    stored_requests,
)
# Rows that are added and deleted, and never changed.
REMOVABLE = (crypto_prices, reconciliations)
# One row, made by a migration, and only ever changed.
ONE_ROW = (accounts, model_roles)


@dataclass(frozen=True, slots=True)
class Function:
    """A SQL function: it touches what its owner may; `callers` may call it besides.

    Without an owner it touches what is shared, and those who call it do so by their own rights. `keeps` is the table that a
    trigger's function alone writes; a `pure` one touches nothing.
    """

    owner: str
    callers: tuple[str, ...] = ()
    keeps: Table | None = None
    pure: bool = False

    @property
    def lends_rights(self) -> bool:
        """Whether it acts by its owner's rights, whoever calls it (SECURITY DEFINER)."""
        return bool(self.owner) and not self.pure and (bool(self.callers) or self.keeps is not None)


FUNCTIONS: Mapping[str, Function] = {
    "take_sequences": Function("", tuple(OWNED)),
    "advance_watermark": Function("", tuple(OWNED)),
    "advance_shard_watermark": Function("signal"),
    "begin_requests": Function("", tuple(OWNED)),
    "refuse_change": Function(""),
    "count_added_candles": Function("market", keeps=candle_counts),
    "count_removed_candles": Function("market", keeps=candle_counts),
    "forget_candle_counts": Function("market", keeps=candle_counts),
    "lock_recommendation": Function("orchestrator", ("executor",)),
    "lock_account": Function("risk", ("executor",)),
    "risk_commit": Function("risk", ("executor",)),
    "risk_transfer": Function("risk", ("executor",)),
    "set_trading_state": Function("risk", ("executor",)),
    "begin_start": Function("risk", ("executor",)),
    "end_start": Function("risk", ("executor",)),
    "trading_state_rank": Function("risk", pure=True),
    "trading_state_allows": Function("risk", ("executor",), pure=True),
    "tell_trading_state": Function("risk"),
    "count_send": Function("executor"),
    "orders_of_locked": Function("orchestrator"),
    "store_reviews": Function("validator"),
    "add_to_ledger_balances": Function("executor", keeps=ledger_balances),
    "take_from_ledger_balances": Function("executor", keeps=ledger_balances),
    "forget_ledger_balances": Function("executor", keeps=ledger_balances),
    "order_fills": Function("executor"),
    "with_booking_sequence": Function("executor"),
    "intent_facts": Function("executor"),
    "write_intents": Function("executor"),
    "lock_orders": Function("executor"),
    "record_orders": Function("executor"),
}


@dataclass(frozen=True, slots=True)
class Access:
    """Names of everything that a reader may have in its SQL: `written` and `inserted` tables, and what it only reads."""

    written: frozenset[str]
    inserted: frozenset[str]
    read: frozenset[str]
    views: frozenset[str]
    functions: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return self.written | self.inserted | self.read | self.views | self.functions


def access_of(reader: str) -> Access:
    """Of a service by its name, of `training` and of `cli`."""
    written = (*OWNED[reader], *SHARED) if reader in OWNED else ()
    functions = (name for name, function in FUNCTIONS.items() if reader in (function.owner, *function.callers))
    return Access(
        written=_names(written),
        inserted=_names(INSERTED.get(reader, ())),
        read=_names((*READ.get(reader, ()), *SHOWN.get(reader, ()))),
        views=_names(view for view in views.tables.values() if reader in readers_of(view)),
        functions=frozenset(functions),
    )


def _names(tables: Iterable[Table]) -> frozenset[str]:
    return frozenset(table.name for table in tables)
