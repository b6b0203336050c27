"""One check, one verdict: what every rule of the risk engine says. All rules run and every verdict is kept."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tradekit.reasons import Reason


class Kind(StrEnum):
    """What a rule that is not passed does to the request."""

    REJECT = "reject"
    CAP = "cap"
    SCALE = "scale"
    # Told, but stops nothing: how freshness and rate rules meet an exit.
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule found. `allows` is the size that a cap or a scaling leaves, None for other kinds."""

    code: str
    kind: Kind
    passed: bool
    limit: str = ""
    observed: str = ""
    unit: str = ""
    scope: str = "account"
    allows: Decimal | None = None

    @property
    def reason(self) -> Reason:
        """The verdict as a reason."""
        return Reason(self.code, self.limit, self.observed, self.unit, self.scope)
