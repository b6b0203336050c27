"""Decides whether what a model wrote is an answer.

Anything but the exact schema is none, and nothing is rescued from it.
"""

import json
from dataclasses import dataclass
from typing import Any

from svc_validator.prompt import MODEL_REASONS
from tradekit.states import ReviewVerdict


class NotAnAnswer(ValueError):
    """The model's output is no verdict; the text is a short code for the row."""


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """A verdict with the one word the model gave for it."""

    verdict: ReviewVerdict
    reason: str


def parse_answer(content: str, *, done: bool | None, done_reason: str | None) -> ModelVerdict:
    """The verdict in a complete answer; NotAnAnswer for everything else."""
    if done is not True or done_reason != "stop":
        raise NotAnAnswer("cut" if done_reason == "length" else "not_done")
    if not content.strip():
        raise NotAnAnswer("empty")
    try:
        found = json.loads(content, object_pairs_hook=_no_key_twice)
    except NotAnAnswer:
        raise
    except (ValueError, RecursionError):
        raise NotAnAnswer("not_json") from None
    if not isinstance(found, dict) or found.keys() != {"verdict", "reason"}:
        raise NotAnAnswer("schema")
    verdict, reason = found["verdict"], found["reason"]
    if verdict not in ("APPROVE", "REJECT") or reason not in MODEL_REASONS:
        raise NotAnAnswer("schema")
    if (verdict == "APPROVE") != (reason == "OK"):
        raise NotAnAnswer("contradiction")
    return ModelVerdict(ReviewVerdict(verdict), reason)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """json keeps the last of two equal keys, so a REJECT could hide behind an APPROVE."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotAnAnswer("key_twice")
    return found
