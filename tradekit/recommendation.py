"""The recommendation as every stage sees it inside: typed, bounded, finite; and the hash of its terms."""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tradekit.decimals import plain
from tradekit.exit_plan import ExitPlan
from tradekit.life import Life, is_empty, life_at
from tradekit.sizes import base_size, quote_size
from tradekit.states import LifeClock, Origin, Profile, Side
from tradekit.units import BaseSize, OrderSize, Price, ProductId, QuoteSize

# An exit that has failed for so long is given up, whichever stage it waits at; the alert of it stays.
EXIT_RETRIES = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the model knew. Probabilities are 0..1, `edge` is p_up - p_down, returns are log returns.

    `features` is the feature row in the order that `feature_set_hash` fixes.
    """

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
    features: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One proposed trade. `size` is in quote currency for BUY, in base units for SELL; times are aware UTC. `exit_plan`: how
    what a BUY buys is left; None leaves that to the executor."""

    recommendation_id: UUID
    product_id: ProductId
    side: Side
    size: OrderSize
    reference_price: Price
    as_of: datetime
    expire_time: datetime
    life_clock: LifeClock
    origin: Origin
    profile: Profile
    priority: float
    evidence: Evidence | None = None
    note: str = ""
    exit_plan: ExitPlan | None = None

    @property
    def quote_size(self) -> QuoteSize:
        """What a BUY may spend."""
        return quote_size(self.side, self.size)

    @property
    def base_size(self) -> BaseSize:
        """What a SELL wants sold."""
        return base_size(self.side, self.size)

    @property
    def confidence(self) -> float | None:
        """The model's calibrated confidence; None on an operator's recommendation, which has none."""
        return self.evidence.confidence if self.evidence else None

    @property
    def life_is_empty(self) -> bool:
        """Whether its life ends before the data it rests on, so that it was never alive."""
        return is_empty(self.life_clock, self.as_of, self.expire_time)

    def life_at(self, machine: datetime, market: datetime | None) -> Life:
        """Its life at this machine time and market time; see `tradekit.life`."""
        return life_at(self.life_clock, self.expire_time, machine, market)


def terms_hash(recommendation: Recommendation) -> str:
    """sha256 in hex of everything a recommendation says, evidence and note included.

    Equal recommendations have equal hashes however they were spelled: 100 and 100.00 are one amount, 16:00+01:00 and
    15:00Z one moment. A review, a ticket and an order carry it, so none of them counts for other terms.
    """
    text = json.dumps(_canonical(recommendation), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _canonical(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID):
        return str(value)
    # A whole number comes back from JSON as an int, and -0.0 equals 0.0.
    return repr(float(value) + 0.0) if isinstance(value, int | float) else value
