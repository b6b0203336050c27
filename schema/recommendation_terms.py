"""The comparison of a request with the recommendation that is stored under its id.

What validator, risk engine and executor are asked about must be what the bridge stored, to the last character: a review
or a ticket of other terms counts for nothing.
"""

from dataclasses import dataclass, fields

from meshkit.dedicated import RowByName
from meshkit.errors import FailedPrecondition, NotFound
from schema.recommendation_rows import recommendation_of_row
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState


@dataclass(frozen=True, slots=True)
class StoredTerms:
    """A recommendation as it is stored, the hash of its terms, and whether anything new may still be done for it."""

    recommendation: Recommendation
    terms: str
    state: RecommendationState
    cancelled: bool

    @property
    def is_open(self) -> bool:
        """False once it has ended, or an operator has cancelled it."""
        return self.state not in RECOMMENDATION_TERMINAL and not self.cancelled

    @property
    def end(self) -> str:
        """How it ended: its last state, or the operator's cancel that is not its state yet."""
        return self.state.value if self.state in RECOMMENDATION_TERMINAL else "CANCELLED_BY_OPERATOR"


def terms_of(row: RowByName) -> StoredTerms:
    """The stored recommendation of a row of `recommendation_terms`."""
    found = recommendation_of_row(row)
    cancelled = row["cancel_requested_at"] is not None
    return StoredTerms(found, terms_hash(found), RecommendationState(row["state"]), cancelled)


def matching(stored: StoredTerms | None, recommendation: Recommendation) -> StoredTerms:
    """What is stored, where it says what was sent. NotFound, or TERMS_DIFFER that names what differs."""
    if stored is None:
        raise NotFound("recommendation", recommendation.recommendation_id)
    if stored.terms != terms_hash(recommendation):
        raise terms_differ(stored.recommendation, recommendation)
    return stored


def terms_differ(stored: Recommendation, sent: Recommendation) -> FailedPrecondition:
    """The error of a request that is not about what is stored under its id."""
    names = [field.name for field in fields(stored) if getattr(stored, field.name) != getattr(sent, field.name)]
    what = ", ".join(names) or "its terms"
    message = f"recommendation {sent.recommendation_id} is stored with another {what}; send it as it is stored"
    return FailedPrecondition("TERMS_DIFFER", message)
