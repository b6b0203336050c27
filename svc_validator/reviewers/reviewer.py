"""What the validator asks of a reviewer. The rules are one, a language model another; each is one file of this folder."""

from dataclasses import dataclass
from typing import Any, Protocol

from meshkit.clock import Clock
from svc_validator.concurrency_limiter import ConcurrencyLimiter
from svc_validator.review import Review
from svc_validator.rules import Inputs
from svc_validator.self_test import SelfTest
from tradekit.recommendation import Recommendation
from tradekit.states import ReviewOutcome


@dataclass(frozen=True, slots=True)
class Question:
    """An entry to review. `inputs` are its figures as the rules accepted them; a model is shown nothing else."""

    recommendation: Recommendation
    inputs: Inputs


class Reviewer(Protocol):
    """Reviews entries. `label` is stored with each of its reviews and shown as who decided."""

    @property
    def label(self) -> str: ...

    @property
    def self_test(self) -> SelfTest:
        """How it did in its own test; an unfit one must not decide."""

    async def review(self, question: Question, seconds: float) -> Review:
        """Its review within `seconds`. A failure is an outcome, never an exception and never an approval."""


class OutsideReviewer(Reviewer, Protocol):
    """A reviewer outside of this process: it may be slow, away or unfit, and can only veto what the rules let pass."""

    @property
    def model(self) -> str:
        """Which model it asks."""

    @property
    def digest(self) -> str:
        """Digest of the model that passed the self-test; empty if none did."""

    def skipped(self, question: Question, outcome: ReviewOutcome, error: str) -> Review:
        """The review of a question that was never put."""

    async def keep_fit(self, every_seconds: float) -> None:
        """Tests it again and again, for ever; it alone makes it fit."""

    async def close(self) -> None:
        """Closes connections."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What an outside reviewer shares with its process. `seconds` is its own limit of one review."""

    limiter: ConcurrencyLimiter
    clock: Clock
    log: Any
    seconds: float
