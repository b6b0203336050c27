"""How reads from the exchange fail: it does not answer (time must act), or it refuses (somebody must act)."""

from __future__ import annotations

from meshkit.errors import FailedPrecondition, Unavailable, shown


class ExchangeUnavailable(Unavailable):
    """The exchange did not give a usable answer within the allowed attempts; retry later."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__("DEPENDENCY_UNAVAILABLE", f"the exchange did not answer {shown(what)}: {why}", retry_after=1.0)


class ExchangeRefused(FailedPrecondition):
    """The exchange refused a read. `missing`: it has nothing of that name; everything else is for the operator."""

    def __init__(self, what: str, why: str, *, missing: bool = False) -> None:
        reason = "NOT_FOUND" if missing else "MISCONFIGURED"
        super().__init__(reason, f"the exchange answered {shown(what)} with {why}")
        self.missing = missing
