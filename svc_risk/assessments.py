"""An item from its request to its assessment: what was sent, what is stored of it, and what a decision stores."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from schema.recommendation_terms import StoredTerms
from schema.requests import RequestKey
from svc_risk.score import ScoreParts
from svc_risk.snapshot import Inputs, Lock
from tradekit.products import Product
from tradekit.reasons import Reason
from tradekit.recommendation import Recommendation
from tradekit.states import ReservationState, RiskDecision, Side
from tradekit.units import BaseSize, OrderSize, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class StoredAssessment:
    """A decision as it is stored, without the inputs it was made from; sizes in the unit of its side."""

    assessment_id: UUID
    recommendation_id: UUID
    attempt: int
    request_hash: str
    product_id: ProductId
    side: Side
    decision: RiskDecision
    requested_size: OrderSize
    adjusted_size: OrderSize
    score: float
    parts: ScoreParts
    sigma_14d: float
    heat_before: float
    heat_after: float
    exposure_before: QuoteSize
    exposure_after: QuoteSize
    equity: QuoteSize
    reasons: tuple[Reason, ...]
    limits_version: str
    ticket: str
    as_of: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a decision holds until its order is written down, or until `expires_at`; it has the assessment's id."""

    quote_amount: QuoteSize
    fee_amount: QuoteSize
    base_amount: BaseSize
    heat: float
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """An assessment with the state and end of its reservation (None: it reserved nothing)."""

    assessment: StoredAssessment
    state: ReservationState | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A new assessment with the inputs it was made from, what it reserves, and the locks that its look at the account trips."""

    assessment: StoredAssessment
    inputs: Inputs
    reservation: Reservation | None
    locks: tuple[Lock, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A recommendation as its caller sent it; the request's body is the hash of its terms."""

    key: RequestKey
    recommendation: Recommendation


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored of an item.

    `body` is what its request_id stands for already, None if for nothing. `approved` is on the terms that were sent. An
    attempt whose reservation is overdue shows it as EXPIRED. `last_entry` and `last_losing_exit` are market times.
    """

    body: str | None
    stored: StoredTerms | None
    newest: Attempt | None
    approved: bool
    product: Product | None
    last_entry: datetime | None
    last_losing_exit: datetime | None
