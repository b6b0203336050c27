"""Settings of the validator: which model may veto, how long it may take, and what its failure means."""

from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tradekit import services
from tradekit.settings import TradingSettings, port_field
from tradekit.states import ReviewMode


class OnFailure(StrEnum):
    """What a failed model call means; there is no way to approve on failure."""

    REJECT = "reject"
    RULES = "rules"


class ValidatorSettings(TradingSettings):
    """Environment of svc_validator."""

    service_name: str = "validator"
    port: int = port_field(services.VALIDATOR)

    ollama_host: str | None = Field(
        None, description="address of an Ollama server such as http://127.0.0.1:11434; unset lets the rules decide"
    )
    ollama_model: str = Field(
        "qwen3:8b", min_length=1, max_length=128, description="tag of a model that the server already has"
    )
    llm_mode: ReviewMode = Field(ReviewMode.VETO, description="veto (enforced) or shadow (recorded only)")
    llm_on_failure: OnFailure = Field(OnFailure.REJECT, description="reject or rules, when the model does not answer")
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

    @field_validator("ollama_host")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = urlsplit(value if "://" in value else f"http://{value}")
        try:
            good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("must look like http://127.0.0.1:11434")
        return value
