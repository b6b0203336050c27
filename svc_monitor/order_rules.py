"""The alerts of single orders whose end is not what the ledger or the exchange said it was."""

from collections.abc import Callable

from svc_monitor.alerts import Finding, Severity
from svc_monitor.seen import Found, Seen

_WORDS = {
    "ORDER_ADOPTED": (
        Severity.CRITICAL,
        "Order {0} of {1} had ended, and the exchange has it after all: {2}. Order, position, ledger "
        "and recommendation follow the exchange.",
    ),
    "ORDER_NOT_SETTLED": (
        Severity.WARNING,
        "The exchange has had order {0} of {1} for more than five minutes and does not end it: it is not done there, "
        "or lists other fills than it says ({2}). It stays OPEN and is asked for; look it up at the exchange.",
    ),
    "CLIENT_ORDER_ID_TAKEN": (
        Severity.CRITICAL,
        "Order {0} of {1} was not made: the exchange has another order under its id ({2}). Somebody else uses the account; "
        "what that order filled is not in the ledger.",
    ),
}


def _rule(code: str) -> Callable[[Seen], Found]:
    severity, words = _WORDS[code]

    def rule(seen: Seen) -> Found:
        if seen.exits is None:
            return None
        return tuple(
            Finding(
                code, f"order:{found.order_id}", severity, words.format(found.order_id, found.product_id, found.detail)
            )
            for found in seen.exits.alarms
            if found.code == code
        )

    return rule


ORDER_RULES = {code: _rule(code) for code in _WORDS}
