"""The alerts of exits, and the one sentence on whether anything can be sold now, for every alert that speaks of it."""

from svc_monitor.alerts import Finding, Severity
from svc_monitor.feeds.exits import FailedClose, FailedExit, OpenClose, OpenExit, UnprotectedPosition
from svc_monitor.health import ServiceState
from svc_monitor.seen import Found, Seen
from tradekit import services
from tradekit.services import ServiceName

WAITING_SECONDS = 30.0
WAITING_LONG_SECONDS = 300.0
UNPROTECTED_SECONDS = 30.0
# Ends that are as they should be: an operator's word, or nothing to sell.
WANTED_ENDS = frozenset({"KILL_SWITCH", "SELL_NOT_HELD", "NOT_HELD", "CANCELLED_BY_OPERATOR"})
_WAITS_FOR = {
    "NOTHING_AVAILABLE": "the ledger holds it and the exchange does not have it free: it was moved by hand, or an order holds "
    "it that is not ours or whose cancel has not taken hold",
    "TERMS_DIFFER": "the executor finds other terms stored than the orchestrator sent",
    "CONTRACT_VIOLATION": "a service answers outside its contract",
    "ORDER_UNKNOWN": "nobody knows yet whether the exchange has its order; the exchange is asked",
    "ORDER_OPEN": "the exchange has its order, and has not filled it or not listed all that it filled",
    "ORDER_PENDING": "its order is written down and not answered for",
}


def exits_now(seen: Seen) -> str:
    """What is true of exits in the state that is seen, as a sentence."""
    if stopped := _all_stopped(seen):
        return stopped
    if not _serves(seen, services.ORCHESTRATOR):
        return "Exits wait for the orchestrator; `mesh close` sells without it."
    return "Exits go on."


def _all_stopped(seen: Seen, *, at_exchange: bool = False) -> str:
    """What keeps every way out shut, an operator's close as well; empty if nothing does. A halt does not call back an order
    that may be at the exchange."""
    if not seen.database_up:
        return "Exits wait for the database."
    if not _serves(seen, services.EXECUTOR):
        return "Exits wait for the executor."
    if not at_exchange and seen.trading is not None and seen.trading.state == "HALTED":
        return "Trading is HALTED, so exits are stopped as well."
    return ""


def _serves(seen: Seen, service: ServiceName) -> bool:
    return any(one.service is service and one.own.state is ServiceState.SERVING for one in seen.services)


def exit_waiting(seen: Seen) -> Found:
    """An exit that is not done after half a minute: the oldest recommendation of each product, and every close."""
    if seen.exits is None:
        return None
    recommendations = [(f"product:{one.product_id}", one.age_seconds, _waiting(one, seen)) for one in seen.exits.open]
    closes = [(f"order:{one.order_id}", one.age_seconds, _close_waits(one, seen)) for one in seen.exits.open_closes]
    return tuple(
        Finding("EXIT_WAITING", scope, Severity.CRITICAL if age >= WAITING_LONG_SECONDS else Severity.WARNING, words)
        for scope, age, words in (*recommendations, *closes)
        if age >= WAITING_SECONDS
    )


def _waiting(found: OpenExit, seen: Seen) -> str:
    state = exits_now(seen)
    code = f"ORDER_{found.order_state}" if found.order_id else found.reason
    if state != "Exits go on.":
        why = state
    elif code:
        why = f"{code}: {_WAITS_FOR.get(code, found.observed or 'it is tried again')}."
    else:
        why = f"It is {found.state} and nothing has delayed it by name."
    advice = "" if found.order_id else f" `mesh cancel {found.recommendation_id}` ends it."
    return f"An exit of {found.product_id} is not done after {WAITING_SECONDS:.0f} s. {why}{advice}"


def _close_waits(found: OpenClose, seen: Seen) -> str:
    # One that is WAITING has no order yet.
    stopped = _all_stopped(seen, at_exchange=found.state not in ("PENDING", "WAITING"))
    if found.state == "WAITING":
        why = stopped or f"{found.reason}: {_WAITS_FOR.get(found.reason, found.observed or 'it is tried again')}."
    else:
        reason = f" ({_cause(found)})" if found.reason else ""
        why = stopped or f"ORDER_{found.state}: {_WAITS_FOR[f'ORDER_{found.state}']}{reason}."
    if found.state == "WAITING":
        advice = "It is tried again, at most 30 s apart, for a day; `mesh halt --cancel` ends it."
    elif found.cancelled:
        advice = "It was cancelled by an operator and ends when it is known that the exchange does not sell it."
    elif found.state != "PENDING":
        advice = "Look it up at the exchange by this id."
    elif stopped:
        advice = f"Once that is over, `mesh close {found.product_id}` sells what this one has not sold."
    else:
        advice = "The executor sends it by itself; its log says what keeps it."
    return (
        f"The close of {found.product_id} is {found.state} and not done after {WAITING_SECONDS:.0f} s: order "
        f"{found.order_id} sells {found.size}, sold so far: {found.filled}. {why} {advice}"
    )


def _cause(found: OpenClose | FailedClose) -> str:
    return f"{found.reason}: {found.observed}" if found.observed else found.reason or "no reason given"


def exit_failed(seen: Seen) -> Found:
    """The newest exit of what is still held came to nothing, or the newest close did not sell all it was to. Stays until it
    is acknowledged, something is sold, or the position is gone."""
    if seen.exits is None:
        return None
    recommendations = [
        (f"recommendation:{one.recommendation_id}", one.reason, _failed(one)) for one in seen.exits.failed
    ]
    closes = [(f"order:{one.order_id}", one.reason, _close_failed(one)) for one in seen.exits.failed_closes]
    return tuple(
        Finding("EXIT_FAILED", scope, Severity.CRITICAL, words)
        for scope, reason, words in (*recommendations, *closes)
        if reason not in WANTED_ENDS
    )


def _failed(found: FailedExit) -> str:
    reasons = " after ".join(filter(None, (found.reason, found.then_reason))) or "no reason given"
    return (
        f"An exit of {found.product_id} ended {found.state} by {found.decided_by} ({reasons}), and {found.held} is still "
        f"held. `mesh close {found.product_id}` sells it; acknowledging ends this alert."
    )


def _close_failed(found: FailedClose) -> str:
    return (
        f"The close of {found.product_id} ended {found.state} ({_cause(found)}): order {found.order_id} was to sell "
        f"{found.size} and sold {found.filled}; {found.held} is still held. `mesh close {found.product_id}` sells it; "
        "acknowledging ends this alert."
    )


def unprotected_position(seen: Seen) -> Found:
    """Something is held that nothing would sell, for longer than protecting it takes."""
    if seen.exits is None:
        return None
    return tuple(
        Finding("UNPROTECTED_POSITION", f"product:{found.product_id}", Severity.CRITICAL, _unprotected(found, seen))
        for found in seen.exits.unprotected
        if seen.protects and found.age_seconds >= UNPROTECTED_SECONDS
    )


def _unprotected(found: UnprotectedPosition, seen: Seen) -> str:
    why = _all_stopped(seen) or "The executor tries again; its log says what keeps it."
    return (
        f"{found.unprotected} of {found.held} held of {found.product_id} has had no stop for {found.age_seconds:.0f} s. {why} "
        f"`mesh close {found.product_id}` sells it."
    )


def contract_violation(seen: Seen) -> Found:
    """A service answered outside its contract within the last hour."""
    if seen.exits is None:
        return None
    return tuple(
        Finding(
            "CONTRACT_VIOLATION",
            found.scope,
            Severity.CRITICAL,
            f"{found.scope.removeprefix('service:')} gave an answer that its contract does not know: {found.observed}. Its "
            "entries end with that, exits go on without its answer. A defect: see both services' logs and versions.",
        )
        for found in seen.exits.violations
    )
