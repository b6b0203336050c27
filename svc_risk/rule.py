"""The declaration of a risk rule: everything there is to say about it, said once.

Refusals, GetLimits and the table in docs/reasons.md are all made from it. A check is handed the limit that is shown, so
that it cannot measure by another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from svc_risk.case import Case
from svc_risk.parameters import Parameters
from tradekit.reasons import Reason, shown
from tradekit.units import BaseSize, QuoteSize

N = TypeVar("N", QuoteSize, BaseSize, Decimal, float, int, str)
Unit = Literal["", "ratio", "usd", "base", "seconds", "bars", "count"]
Scope = Literal["account", "product", "request", "model"]


class Effect(StrEnum):
    """What a rule that is not passed does to a request."""

    REJECT = "reject"
    CAP = "cap"
    SCALE = "scale"
    # Told, but stops nothing: how freshness and rate rules meet an exit.
    FLAG = "flag"
    # Not looked at.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limit(Generic[N]):
    """The number that a rule goes by: `of` a case, and as it is `told` while there is none.

    It is the limit that a reason carries or, where the limit follows the state, a formula in recorded figures that gives
    it. The second argument of `told` is the length of a bar in seconds.
    """

    of: Callable[[Case], N]
    told: Callable[[Parameters, int], str]


def fixed(read: Callable[[Parameters], N]) -> Limit[N]:
    """A limit that the parameters alone decide."""
    return Limit(lambda case: read(case.p), lambda p, _: shown(read(p)))


NO_LIMIT: Limit[str] = fixed(lambda p: "")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `allows` is what a cap or a scaling leaves of an entry.

    `product_id` is named where it is not the request's.
    """

    passed: bool
    observed: str = ""
    allows: QuoteSize | None = None
    product_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says to one case. All rules run and every verdict is kept."""

    passed: bool
    reason: Reason
    allows: QuoteSize | None


@dataclass(frozen=True, slots=True)
class Rule(Generic[N]):
    """One rule. `words` say what is wrong where it is not passed; a `final` finding holds however fresh the data is.

    `limit` and what a check observes are in `unit`. Equal to a cap is allowed, equal to a breaker trips it.
    """

    code: str
    words: str
    limit: Limit[N]
    unit: Unit
    scope: Scope
    on_buy: Effect
    on_sell: Effect
    check: Callable[[Case, N], Finding]
    final: bool = False

    def verdict(self, case: Case) -> Verdict:
        """Checks the case by the limit that holds for it."""
        limit = self.limit.of(case)
        found = self.check(case, limit)
        scope = f"product:{found.product_id or case.request.product_id}" if self.scope == "product" else self.scope
        reason = Reason(self.code, shown(limit), found.observed, self.unit, scope)
        return Verdict(found.passed, reason, found.allows)
