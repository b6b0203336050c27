"""The rules of the alerts: one function per code, each a pure look at what the monitor knows.

A rule gives what is true now, or None when its source is too old to say.
"""

from collections.abc import Callable, Sequence
from math import inf

from svc_monitor import ledger_rules
from svc_monitor.alerts import Finding, Severity, Verdicts
from svc_monitor.exit_rules import contract_violation, exit_failed, exit_waiting, exits_now, unprotected_position
from svc_monitor.feeds.model import FeatureDrift
from svc_monitor.health import Known, ServiceState
from svc_monitor.order_rules import ORDER_RULES
from svc_monitor.seen import Found, Seen
from tradekit import services

DOWN_SECONDS = 3.0
ENTRIES_SECONDS = 10.0
DATABASE_SECONDS = 3.0
FEEDS_SECONDS = 3.0
# The database has a halt within a second where it answers.
KEPT_SECONDS = 3.0
LAG_BARS = 3
LAG_SECONDS = 5.0
# The self-test and the first load of a model take their time.
SETTLE_SECONDS = 30.0
# What else is true while a service refuses new positions.
_EFFECT = {
    services.MARKET: " While no candles come, no signal is made, to sell neither, and exits by time wait.",
}
# Of several things of one kind, as many are named.
NAMED = 4


def _held(known: Known, seconds: float, seen: Seen) -> float:
    """How long a fault of this name has to last: what never served in a mesh that is still coming up is no fault yet."""
    return inf if seen.starting and known.served_steady is None else seconds


def service_down(seen: Seen) -> Found:
    """A service that does not serve."""
    return tuple(
        Finding(
            "SERVICE_DOWN",
            f"service:{health.service.name}",
            Severity.CRITICAL,
            f"{health.service.name} at {health.address} is {health.own.state}: {health.own.detail}. See its log.",
            _held(health.own, DOWN_SECONDS, seen),
        )
        for health in seen.services
        if health.own.state is not ServiceState.SERVING
    )


def entries_closed(seen: Seen) -> Found:
    """A service that serves, but refuses new positions."""
    return tuple(
        Finding(
            "ENTRIES_CLOSED",
            f"service:{health.service.name}",
            Severity.WARNING,
            f"{health.service.name} refuses new positions. {exits_now(seen)}{_EFFECT.get(health.service, '')} "
            "Its log names the failing check.",
            _held(health.entries, ENTRIES_SECONDS, seen),
        )
        for health in seen.services
        if health.own.state is ServiceState.SERVING and health.entries.state is not ServiceState.SERVING
    )


def feed_silent(seen: Seen) -> Found:
    """The exchange tells the executor nothing by itself, and is asked instead. An executor without feeds has no word on them."""
    executor = next(health for health in seen.services if health.service is services.EXECUTOR)
    if executor.own.state is not ServiceState.SERVING:
        return None
    if executor.feeds.state is not ServiceState.NOT_SERVING:
        return ()
    message = (
        "A WebSocket of the exchange, of orders or of prices, tells the executor nothing. It stops neither entries nor exits: "
        "the executor asks instead, every PROTECTION_POLL_SECONDS or RECONCILE_SECONDS, and sees a fill that much later. Its "
        "log says which feed it is and why (feed_lost)."
    )
    return (Finding("FEED_SILENT", "executor", Severity.WARNING, message, _held(executor.feeds, FEEDS_SECONDS, seen)),)


def ledger_mismatch(seen: Seen) -> Found:
    """The executor's only condition for entries is a clean reconciliation."""
    executor = next(health for health in seen.services if health.service is services.EXECUTOR)
    if executor.own.state is not ServiceState.SERVING:
        return None
    if executor.entries.state is not ServiceState.NOT_SERVING:
        return ()
    named = ledger_rules.differences(seen)
    if named:
        message = (
            f"The ledger differs from the account: {named} No new position is opened; "
            "`mesh ledger show` says how to book it."
        )
    else:
        message = (
            "The ledger could not be compared with the exchange, or an order is unknown. No new position is opened; "
            "the executor's log has the cause."
        )
    hold = _held(executor.entries, ENTRIES_SECONDS, seen)
    return (Finding("LEDGER_MISMATCH", "account", Severity.CRITICAL, message, hold),)


def order_unknown(seen: Seen) -> Found:
    """Orders whose outcome nobody knows: by the rows, and by the orchestrator's count while only the monitor cannot read them."""
    if seen.exits is not None:
        orders = seen.exits.unknown
        count, named = len(orders), f" ({_some([f'{one.side} {one.product_id} {one.order_id}' for one in orders])})"
    elif seen.pipeline is not None:
        count, named = seen.pipeline.unknown_orders, ""
    else:
        return None
    if not count:
        return ()
    executor = next(health for health in seen.services if health.service is services.EXECUTOR)
    asks = seen.database_up and executor.own.state is ServiceState.SERVING
    search = (
        "The exchange is asked until it tells."
        if asks
        else "The exchange is asked when executor and database are back."
    )
    message = f"The outcome of {count} order(s) is unknown{named}: counted as exposure; their products take no entry. {search}"
    return (Finding("ORDER_UNKNOWN", "account", Severity.CRITICAL, message),)


def stage_lagging(seen: Seen) -> Found:
    """A stage that does not keep up with the market."""
    if seen.pipeline is None:
        return None
    limit = LAG_BARS * seen.bar_seconds
    return tuple(
        Finding(
            "STAGE_LAGGING",
            f"stage:{stage.name}",
            Severity.WARNING,
            f"{stage.name} are more than {LAG_BARS} bars behind the market.",
            LAG_SECONDS,
        )
        for stage in seen.pipeline.stages
        if stage.lag_seconds is not None and stage.lag_seconds > limit
    )


def trading_halted(seen: Seen) -> Found:
    """The operator's switch is not at ACTIVE, as the executor obeys it."""
    if seen.trading is None:
        return None
    if seen.trading.state not in ("HALTED", "REDUCING"):
        return ()
    if seen.trading.reason:
        return (_start_not_reconciled(seen, seen.trading.note),)
    halted = seen.trading.state == "HALTED"
    what = "no order is sent, neither to buy nor to sell" if halted else "positions are only reduced"
    where = "" if seen.trading.stored else " The executor holds to it; the database does not have it yet."
    note = f" Note: {seen.trading.note}" if seen.trading.note else ""
    message = f"Trading is {seen.trading.state}: {what}. `mesh resume` ends it.{where}{note}"
    return (Finding("TRADING_HALTED", "account", Severity.WARNING, message),)


def _start_not_reconciled(seen: Seen, note: str) -> Finding:
    """A start holds the switch, which takes a moment; what keeps it longer is told."""
    why = ledger_rules.differences(seen) or "`mesh status` tells what it waits for."
    message = f"Trading is REDUCING until the start is reconciled: positions are only reduced ({note}). {why} It ends by itself."
    return Finding("TRADING_HALTED", "account", Severity.WARNING, message, ENTRIES_SECONDS)


def halt_not_kept(seen: Seen) -> Found:
    """A halt that the executor could write nowhere."""
    if seen.trading is None:
        return None
    if seen.trading.kept:
        return ()
    message = (
        "A halt is kept nowhere but in the executor's memory: neither the halt file nor the database takes it. It holds until "
        "that process ends, and is gone then. The executor goes on trying both: make room for the halt file, or bring the "
        "database back, before anything is restarted."
    )
    return (Finding("HALT_NOT_KEPT", "account", Severity.CRITICAL, message, KEPT_SECONDS),)


def risk_locked(seen: Seen) -> Found:
    """Locks of the whole account. A product's cooldown after a trade is the day's work and needs nobody."""
    if seen.risk is None:
        return None
    return tuple(
        Finding(
            "RISK_LOCK",
            f"{lock.scope}/{lock.code}",
            Severity.CRITICAL if lock.until is None else Severity.WARNING,
            f"{lock.code} locks new positions of the {lock.scope} "
            + (
                f"until {lock.until:%Y-%m-%d %H:%M} market time."
                if lock.until
                else "until an operator releases it: `mesh resume --release-locks`."
            ),
        )
        for lock in seen.risk.locks
        if lock.scope == "account"
    )


def model_absent(seen: Seen) -> Found:
    """No model serves, so no signal is made."""
    if seen.model is None:
        return None
    if seen.model.loaded:
        return ()
    why = f"{seen.model.refusal_code}: {seen.model.refusal_detail}" if seen.model.refusal_code else "there is none"
    message = f"No model serves, so there are no signals ({why})."
    return (Finding("MODEL_ABSENT", "model", Severity.WARNING, message, SETTLE_SECONDS),)


def model_refused(seen: Seen) -> Found:
    """A newer model failed a check, and the one before it goes on."""
    if seen.model is None:
        return None
    if not seen.model.loaded or not seen.model.refusal_code:
        return ()
    message = (
        f"A newer model was refused ({seen.model.refusal_code}: {seen.model.refusal_detail}); "
        f"{seen.model.version} goes on."
    )
    return (Finding("MODEL_REFUSED", "model", Severity.WARNING, message),)


def model_suspended(seen: Seen) -> Found:
    """The model has known less than its class shares; with thresholds that do not ask for evidence it goes on."""
    if seen.model is None:
        return None
    if not seen.model.suspended:
        return ()
    exercise = seen.model.profile == "EXERCISE"
    effect = "EXERCISE goes on all the same" if exercise else "every signal is HOLD, and what is held stays"
    drift = seen.model.drift
    figures = f" (log loss {drift.log_loss:.3f} against {drift.prior_log_loss:.3f})" if drift else ""
    message = (
        f"{seen.model.version} was worse than the class shares of its training over the last 30 days{figures}: {effect}. "
        "`mesh train` makes a newer one."
    )
    severity = Severity.WARNING if exercise else Severity.CRITICAL
    return (Finding("MODEL_SUSPENDED", "model", severity, message),)


def model_drift(seen: Seen) -> Found:
    """Features that have moved from the model's training."""
    if seen.model is None:
        return None
    features = seen.model.drift.features if seen.model.drift else ()
    moved = [feature for feature in features if feature.level in ("WARNING", "ALARM")]
    if not moved:
        return ()
    alarm = any(feature.level == "ALARM" for feature in moved)
    advice = "A new model is due: `mesh train`." if alarm else "It is no reason to stop, and one to look."
    message = f"{len(moved)} of {len(features)} features have moved from the training: {_worst(moved)}. {advice}"
    return (Finding("MODEL_DRIFT", "model", Severity.CRITICAL if alarm else Severity.WARNING, message),)


def _worst(moved: Sequence[FeatureDrift]) -> str:
    return _some([f"{feature.name} {feature.psi:.2f}" for feature in moved])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def reviewer_unfit(seen: Seen) -> Found:
    """A language model is configured and did not pass its self-test."""
    if seen.reviewer is None:
        return None
    if not seen.reviewer.model or seen.reviewer.fit:
        return ()
    message = f"{seen.reviewer.model} does not review: {seen.reviewer.detail}"
    return (Finding("REVIEWER_UNFIT", "model", Severity.WARNING, message, SETTLE_SECONDS),)


def database_down(seen: Seen) -> Found:
    """The monitor's own database does not answer."""
    if seen.database_up:
        return ()
    message = (
        "The database does not answer the monitor. Where it answers nobody, no order is written down and nothing is bought or "
        "sold; `mesh halt` works all the same. Health and alerts are kept here and written when it is back."
    )
    return (Finding("DATABASE_DOWN", "database", Severity.CRITICAL, message, DATABASE_SECONDS),)


RULES: dict[str, Callable[[Seen], Found]] = {
    "SERVICE_DOWN": service_down,
    "ENTRIES_CLOSED": entries_closed,
    "FEED_SILENT": feed_silent,
    "LEDGER_MISMATCH": ledger_mismatch,
    "FILLS_MISMATCH": ledger_rules.fills_mismatch,
    "FOREIGN_ORDER": ledger_rules.foreign_order,
    "FEE_TIER_DIFFERS": ledger_rules.fee_tier_differs,
    "ORDER_UNKNOWN": order_unknown,
    "EXIT_WAITING": exit_waiting,
    "EXIT_FAILED": exit_failed,
    "UNPROTECTED_POSITION": unprotected_position,
    "CONTRACT_VIOLATION": contract_violation,
    **ORDER_RULES,
    "STAGE_LAGGING": stage_lagging,
    "TRADING_HALTED": trading_halted,
    "HALT_NOT_KEPT": halt_not_kept,
    "RISK_LOCK": risk_locked,
    "MODEL_ABSENT": model_absent,
    "MODEL_REFUSED": model_refused,
    "MODEL_SUSPENDED": model_suspended,
    "MODEL_DRIFT": model_drift,
    "REVIEWER_UNFIT": reviewer_unfit,
    "DATABASE_DOWN": database_down,
}


def judge(seen: Seen) -> Verdicts:
    """What every rule says."""
    return {code: rule(seen) for code, rule in RULES.items()}
