"""The reviewers outside of this process, in the order of preference. A further one is a file beside this and a line here."""

from collections.abc import Callable
from dataclasses import dataclass

from svc_validator.reviewers import ollama
from svc_validator.reviewers.reviewer import OutsideReviewer, Resources
from tradekit.settings import TradingSettings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reviewer before it is known whether it is configured. `advice` says how to configure it."""

    label: str
    settings: type[TradingSettings]
    advice: str
    model_named: Callable[[TradingSettings], str]
    make: Callable[[TradingSettings, Resources], OutsideReviewer | None]


OUTSIDE_REVIEWERS = (
    Candidate("ollama", ollama.OllamaSettings, "set OLLAMA_HOST", ollama.model_named, ollama.reviewer),
)


def outside_reviewer(settings: TradingSettings, resources: Resources) -> OutsideReviewer | None:
    """The first that is configured, None where the rules are alone."""
    made = (candidate.make(settings, resources) for candidate in OUTSIDE_REVIEWERS)
    return next((reviewer for reviewer in made if reviewer is not None), None)
