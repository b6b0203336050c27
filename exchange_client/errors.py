"""How reads from the exchange fail: it does not answer (time must act), or it refuses (somebody must act)."""

from __future__ import annotations

from meshkit.errors import FailedPrecondition, Unavailable, shown


class ExchangeUnavailable(Unavailable):
    """The exchange did not give a usable answer within the allowed attempts; retry later."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__("DEPENDENCY_UNAVAILABLE", f"the exchange did not answer {shown(what)}: {why}", retry_after=1.0)


class ExchangeRefused(FailedPrecondition):
    """The exchange answered a read with 4xx: 401 and 403 are for the operator, 404 names nothing it has."""

    def __init__(self, what: str, status: int, body: str) -> None:
        reason = "NOT_FOUND" if status == 404 else "MISCONFIGURED"
        super().__init__(reason, f"the exchange answered {shown(what)} with {status}: {body[:200]}")
        self.status = status


class BadReply(ValueError):
    """A reply that is not what the exchange's documentation promises; the text says what is wrong with it."""
