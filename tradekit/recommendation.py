"""The recommendation as every stage sees it inside: typed, bounded, finite."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from tradekit.states import LifeClock, Origin, Profile, Side


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the model knew. Probabilities are 0..1, `edge` is p_up - p_down, returns are log returns."""

    signal_id: UUID
    confidence: float
    p_down: float
    p_neutral: float
    p_up: float
    edge: float
    expected_net: float
    sigma_horizon: float
    model_version: str
    feature_set_hash: str
    features: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One idea. `size` is in quote currency for BUY, in base units for SELL; times are aware UTC."""

    recommendation_id: UUID
    product_id: str
    side: Side
    size: Decimal
    reference_price: Decimal
    as_of: datetime
    expire_time: datetime
    life_clock: LifeClock
    origin: Origin
    profile: Profile
    priority: float
    evidence: Evidence | None = None
    note: str = ""

    @property
    def confidence(self) -> float | None:
        """The model's calibrated confidence; None on an operator's idea, which has none."""
        return self.evidence.confidence if self.evidence else None
