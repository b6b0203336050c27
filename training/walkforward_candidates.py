"""The settings that a training tries: few, each for a reason, all of them reported.

Every one is looked at by every rule of `RULES`, and each pair counts as a trial when the Sharpe ratio is deflated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from modelkit.decision import Thresholds
from training.settings import EstimatorSettings

MOST_TRIALS: Final = 30


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting. `trees` None is the logistic regression, a baseline that is not served.

    `balanced` weighs classes to equal totals and is undone by the prior correction; `unique` weighs rows by the
    uniqueness of their labels; `half_life_days` lets old rows fade.
    """

    name: str
    reason: str
    trees: EstimatorSettings | None = field(default_factory=EstimatorSettings)
    stride: int = 5
    balanced: bool = True
    unique: bool = False
    half_life_days: float | None = None


LOGISTIC: Final = "logistic"
CANDIDATES: Final = (
    Candidate("trees", "boosted trees, classes balanced, every fifth bar"),
    Candidate("trees-unbalanced", "class shares as they are, nothing to undo", balanced=False),
    Candidate("trees-unique", "rows weighted by how unique their labels are", unique=True),
    Candidate("trees-dense", "every bar instead of every fifth, weighted by uniqueness", stride=1, unique=True),
    Candidate("trees-fading", "rows lose half their weight within a year", half_life_days=365.0),
    Candidate(LOGISTIC, "logistic regression on standardised features, C = 0.01", trees=None),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """When to be long. `thresholds` None: chosen for each test block from what was out of sample before it."""

    name: str
    thresholds: Thresholds | None = None


CHOSEN_RULE: Final = Rule("chosen before each block")
RULES: Final = (
    CHOSEN_RULE,
    Rule("enter 0.05, leave -0.05", Thresholds(0.05, 0.05)),
    Rule("enter 0.15, leave -0.10", Thresholds(0.15, 0.10)),
    Rule("enter 0.25, leave -0.10", Thresholds(0.25, 0.10)),
)
