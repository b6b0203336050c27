"""The rules about the ledger: what differs from the exchange, whose orders are in the account, and what it charges."""

from svc_monitor.alerts import Finding, Severity
from svc_monitor.seen import Found, Seen
from tradekit.ledger_words import joined


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
