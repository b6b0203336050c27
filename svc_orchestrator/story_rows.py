"""What every stage wrote down about one recommendation, signal or close: the rows that its story is told from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from schema.recommendation_rows import StoredRecommendation
from tradekit.reasons import Reason


@dataclass(frozen=True, slots=True)
class SignalRow:
    """A signal of the model."""

    signal_id: UUID
    product_id: str
    side: str
    confidence: float
    p_down: float
    p_neutral: float
    p_up: float
    edge: float
    expected_net: float
    sigma_horizon: float
    reference_price: Decimal
    model_version: str
    profile: str
    feature_set_hash: str
    features: tuple[float, ...]
    bar_start: datetime
    reasons: tuple[Reason, ...]
    as_of: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What the bridge made of a signal; without a recommendation it was skipped."""

    outcome: str
    recommendation_id: UUID | None
    reasons: tuple[Reason, ...]
    as_of: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One reviewer's review."""

    reviewer: str
    mode: str
    outcome: str
    enforced: str | None
    model: str
    model_digest: str
    latency_ms: float
    error: str
    reasons: tuple[Reason, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AssessmentRow:
    """One attempt of the risk engine."""

    attempt: int
    decision: str
    requested_size: Decimal
    adjusted_size: Decimal
    score: float
    parts: Mapping[str, float]
    sigma_14d: float
    heat_before: float
    heat_after: float
    exposure_before: Decimal
    exposure_after: Decimal
    equity: Decimal
    limits_version: str
    reasons: tuple[Reason, ...]
    as_of: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order; without a recommendation it is an operator's close, or protects a position."""

    order_id: UUID
    recommendation_id: UUID | None
    product_id: str
    side: str
    state: str
    exchange_order_id: str | None
    quote_size: Decimal | None
    base_size: Decimal | None
    filled_size: Decimal
    filled_value: Decimal
    total_fees: Decimal
    send_count: int
    venue: str
    ticket_id: str
    note: str
    reasons: tuple[Reason, ...]
    as_of: datetime
    created_at: datetime
    purpose: str
    order_type: str
    entry_order_id: UUID | None
    stop_price: Decimal | None
    target_price: Decimal | None
    exit_time: datetime | None
    trigger: str | None
    limit_price: Decimal | None
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill of an order."""

    order_id: UUID
    fill_id: str
    trade_id: str
    side: str
    price: Decimal
    size: Decimal
    commission: Decimal
    liquidity: str
    realized_pnl: Decimal
    trade_time: datetime
    as_of: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    """A change of state."""

    from_state: str | None
    to_state: str
    decided_by: str
    reasons: tuple[Reason, ...]
    as_of: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoryRows:
    """All of them, each kind in the order in which it was written; only the story of a close has no recommendation and no
    signal."""

    recommendation: StoredRecommendation | None = None
    signal: SignalRow | None = None
    outcome: OutcomeRow | None = None
    reviews: tuple[ReviewRow, ...] = ()
    assessments: tuple[AssessmentRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    fills: tuple[FillRow, ...] = ()
    events: tuple[EventRow, ...] = ()
