"""Who reviews now, and whose answer is enforced. Pure, so that the policy can be read and tested in one place.

The rules always come first; a model can only take away what they let pass, and no failure ever adds anything.
"""

from enum import StrEnum

from svc_validator.review import RULES, Review
from svc_validator.settings import OnFailure
from tradekit.states import ReviewMode, ReviewOutcome, ReviewVerdict, Venue


class Plan(StrEnum):
    """What happens to an entry that the rules let pass."""

    RULES_DECIDE = "RULES_DECIDE"
    MODEL_MAY_VETO = "MODEL_MAY_VETO"
    MODEL_WATCHES = "MODEL_WATCHES"
    REFUSE = "REFUSE"


def plan(mode: ReviewMode, venue: Venue, on_failure: OnFailure, *, configured: bool, fit: bool) -> Plan:
    """With real money, veto mode and no fit model, nobody may decide unless the rules were told to."""
    if mode is ReviewMode.SHADOW:
        return Plan.MODEL_WATCHES if configured else Plan.RULES_DECIDE
    if configured and fit:
        return Plan.MODEL_MAY_VETO
    if venue is Venue.LIVE and on_failure is OnFailure.REJECT:
        return Plan.REFUSE
    return Plan.RULES_DECIDE


def decide(rules: Review, model: Review | None, on_failure: OnFailure) -> tuple[ReviewVerdict, str]:
    """The enforced verdict and the label of whose review carries it; `model` is None if it was not asked or only watches."""
    if rules.outcome is not ReviewOutcome.APPROVE:
        return ReviewVerdict.REJECT, RULES
    if model is None:
        return ReviewVerdict.APPROVE, RULES
    if model.outcome is ReviewOutcome.APPROVE:
        return ReviewVerdict.APPROVE, model.reviewer
    if model.outcome is ReviewOutcome.REJECT or on_failure is OnFailure.REJECT:
        return ReviewVerdict.REJECT, model.reviewer
    return ReviewVerdict.APPROVE, RULES
