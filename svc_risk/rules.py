"""Every risk rule, in the order of evaluation, and its limit as GetLimits shows it.

A rule that stands here is checked, told by GetLimits and described in docs/reasons.md; there is no other list of them.
"""

from dataclasses import dataclass
from typing import Any

from svc_risk.exits import EXIT_RULES
from svc_risk.limits import LIMIT_RULES
from svc_risk.parameters import Parameters
from svc_risk.rule import Effect, Rule, Scope
from svc_risk.sizing import CAPS, MIN_NOTIONAL, SCALES
from svc_risk.validity import VALIDITY_RULES

HARD_RULES: tuple[Rule[Any], ...] = (*VALIDITY_RULES, *LIMIT_RULES)
RULES: tuple[Rule[Any], ...] = (*HARD_RULES, *SCALES, *CAPS, MIN_NOTIONAL, *EXIT_RULES)


@dataclass(frozen=True, slots=True)
class LimitInForce:
    """One rule as GetLimits shows it. A code may have several: of the account and of a product, of entries and of exits.

    `value` is the limit that a reason tells, a formula in recorded figures where it follows the state, or empty.
    """

    code: str
    value: str
    unit: str
    scope: Scope
    on_buy: Effect
    on_sell: Effect
    words: str

    @property
    def kind(self) -> Effect:
        """What it does: to a BUY, or to a SELL where it looks at nothing else."""
        return self.on_sell if self.on_buy is Effect.NONE else self.on_buy

    @property
    def buy_only(self) -> bool:
        """Whether it stops and shrinks a BUY only; a SELL may still bear its flag."""
        return self.on_buy is not Effect.NONE and self.on_sell in (Effect.NONE, Effect.FLAG)


def limits_of(p: Parameters, granularity_seconds: int) -> tuple[LimitInForce, ...]:
    """Every rule with the limit in force, on bars of this length."""
    return tuple(
        LimitInForce(
            code=rule.code,
            value=rule.limit.told(p, granularity_seconds),
            unit=rule.unit,
            scope=rule.scope,
            on_buy=rule.on_buy,
            on_sell=rule.on_sell,
            words=rule.words,
        )
        for rule in RULES
    )
