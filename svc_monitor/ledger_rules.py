"""The rules about the ledger: what differs from the exchange, whose orders are in the account, and what it charges."""

from svc_monitor.alerts import Finding, Severity
from svc_monitor.seen import Found, Seen
from tradekit.ledger_words import joined
from tradekit.three_way_match import Check

# Two looks, so that no single reading raises it.
MATCH_SECONDS = 15.0
# Of several figures, as many are named.
_NAMED = 4


def differences(seen: Seen) -> str:
    """What differs, by currency and amount, with the orders of others that explain it; empty if that is not known."""
    if seen.ledger is None or not seen.ledger.differences:
        return ""
    whose = f" {joined(seen.ledger.foreign)}." if seen.ledger.foreign else ""
    return f"{joined(seen.ledger.differences)}.{whose}"


def foreign_order(seen: Seen) -> Found:
    """Orders in the account that this mesh did not make: they hold funds, or what they filled is not booked."""
    if seen.ledger is None:
        return None
    return tuple(
        Finding(
            "FOREIGN_ORDER", f"order:{order_id}", Severity.WARNING, f"{line}. `mesh ledger show` says how to book it."
        )
        for order_id, line in zip(seen.ledger.foreign_ids, seen.ledger.foreign, strict=True)
    )


def fee_tier_differs(seen: Seen) -> Found:
    """TAKER_FEE is set, and the exchange charges otherwise."""
    if seen.ledger is None:
        return None
    return tuple(
        Finding("FEE_TIER_DIFFERS", "account", Severity.WARNING, f"{line}. Unset TAKER_FEE to follow the exchange.")
        for line in seen.ledger.fees
    )


def fills_mismatch(seen: Seen) -> Found:
    """The ledger's own figures are not those that its fills make. What the exchange has besides is LEDGER_MISMATCH."""
    if seen.match is None:
        return None
    wrong = seen.match.from_fills
    if not wrong:
        return ()
    message = (
        f"The ledger is not what its fills make: {_figures(wrong)}. `mesh lots` lists every figure; the rows were changed by "
        "something else than this mesh, or this is a defect: halt, and look before you trade on."
    )
    return (Finding("FILLS_MISMATCH", "account", Severity.CRITICAL, message, MATCH_SECONDS),)


def _figures(checks: tuple[Check, ...]) -> str:
    more = f"; and {len(checks) - _NAMED} more" if len(checks) > _NAMED else ""
    return joined([one.words for one in checks[:_NAMED]]) + more
