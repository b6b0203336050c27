"""The rules as a reviewer: always there, always fit, and asked before everybody else."""

from meshkit.clock import Clock
from svc_validator.review import RULES, Review
from svc_validator.reviewers.reviewer import Question
from svc_validator.rules import Limits
from svc_validator.rules import review as review_by_rules
from svc_validator.self_test import SelfTest


class RulesReviewer:
    """Hard limits on entries in the operator's products."""

    label = RULES
    # A pure function of the recommendation: the tests of this repository are its test.
    self_test = SelfTest(0, 0, True, "")

    def __init__(self, limits: Limits, products: frozenset[str], clock: Clock) -> None:
        self._limits = limits
        self._products = products
        self._clock = clock

    async def review(self, question: Question, seconds: float) -> Review:
        """The verdict and the figures it rests on; it takes no time worth limiting."""
        began = self._clock.monotonic()
        found = review_by_rules(question.recommendation, self._limits, self._products)
        spent = (self._clock.monotonic() - began) * 1000
        return Review(self.label, found.outcome, found.reasons, spent, found.inputs)
