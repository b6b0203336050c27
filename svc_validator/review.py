"""What a review is inside: one reviewer's answer, and the stored validation that one of them decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tradekit.reasons import Reason
from tradekit.states import ReviewMode, ReviewOutcome, ReviewVerdict

# The label of the rules; every other reviewer brings its own.
RULES = "rules"


@dataclass(frozen=True, slots=True)
class ModelTrace:
    """What is kept of a model call, so that it can be judged and repeated later."""

    model: str
    model_digest: str = ""
    server_version: str = ""
    prompt_version: str = ""
    prompt_sha256: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    raw_output: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """One reviewer's answer; only APPROVE and REJECT are opinions. `reviewer` is its label; `trace` is None for the rules."""

    reviewer: str
    outcome: ReviewOutcome
    reasons: tuple[Reason, ...]
    latency_ms: float
    inputs: Mapping[str, float] = field(default_factory=dict)
    trace: ModelTrace | None = None
    enforced: ReviewVerdict | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """The one review of a recommendation; exactly one of `reviews` is enforced."""

    validation_id: UUID
    recommendation_id: UUID
    request_hash: str
    verdict: ReviewVerdict
    decided_by: str
    mode: ReviewMode
    reviews: tuple[Review, ...]
    decide_time: datetime
