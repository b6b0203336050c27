"""Settings of the validator: which model may veto, how long it may take, and what its failure means."""

from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field, create_model, field_validator

from svc_validator.reviewers.table import OUTSIDE_REVIEWERS
from tradekit import services
from tradekit.settings import TradingSettings, port_field
from tradekit.states import ReviewMode


class OnFailure(StrEnum):
    """What a failed model call means; there is no way to approve on failure."""

    REJECT = "reject"
    RULES = "rules"


if TYPE_CHECKING:
    _Reviewers = TradingSettings
else:
    # The variables of every outside reviewer, each from its own file.
    _Reviewers = create_model("_Reviewers", __base__=tuple(one.settings for one in OUTSIDE_REVIEWERS))


class ValidatorSettings(_Reviewers):
    """Environment of svc_validator."""

    service_name: str = "validator"
    port: int = port_field(services.VALIDATOR)

    llm_mode: ReviewMode = Field(ReviewMode.VETO, description="veto (enforced) or shadow (recorded only)")
    llm_on_failure: OnFailure = Field(
        OnFailure.REJECT,
        description="reject or rules, when a model that has proved itself does not answer; with real money also while none "
        "has. Otherwise the rules decide until one has",
    )
    llm_deadline_ms: int = Field(8000, ge=50, le=25_000, description="longest wait for one verdict, 50 to 25000")
    llm_max_inflight: int = Field(1, ge=1, le=16, description="calls at once, the server's OLLAMA_NUM_PARALLEL")
    llm_max_queue: int = Field(16, ge=0, le=256, description="reviews that may wait for their turn")
    llm_self_test_seconds: float = Field(
        180.0, ge=1, le=3600, description="seconds between looks at the model: self-test if unfit, else its digest"
    )

    @field_validator("llm_mode", mode="before")
    @classmethod
    def _upper_mode(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("llm_on_failure", mode="before")
    @classmethod
    def _lower_choice(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value
