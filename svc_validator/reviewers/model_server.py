"""What a language model's server must do to review by: answer one prompt, load its model, say which model that is."""

from dataclasses import dataclass, field
from typing import Protocol

from svc_validator.answer import ModelVerdict
from svc_validator.prompt import Prompt
from tradekit.states import ReviewOutcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call. `verdict` is set exactly when the outcome is APPROVE or REJECT; `permanent`: asking again cannot
    help until an operator acts."""

    outcome: ReviewOutcome
    verdict: ModelVerdict | None = None
    raw_output: str = ""
    error: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model this is: a tag can move, its digest cannot."""

    digest: str
    server_version: str


class ModelMissing(Exception):
    """The server does not have the model, or cannot chat with it; the text says what to do."""


class ModelServer(Protocol):
    """One server and one model. `label` names the reviewer that it makes, `faults` are what `load` and `identify` raise
    where the server, and not this program, is wrong."""

    label: str
    faults: tuple[type[Exception], ...]
    model: str

    async def ask(self, prompt: Prompt, seconds: float) -> Answer:
        """The model's verdict within `seconds`, or the failure as an outcome."""

    async def load(self, seconds: float) -> None:
        """Makes the server load the model, with the options of every later call."""

    async def identify(self, seconds: float) -> Identity:
        """Digest and server version; ModelMissing if this server cannot serve the model."""

    async def close(self) -> None:
        """Closes connections."""
