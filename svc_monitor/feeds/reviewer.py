"""Who reviews now: the rules or a language model, never confused."""

from dataclasses import dataclass
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from trading.validator.v1 import validator_service_pb2 as pb
from trading.validator.v1 import validator_service_pb2_grpc as pb_grpc

PACE = Pace(10.0)
STALE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reviewer:
    """The reviewer that decides, and the model that is configured if any."""

    reviewer: str
    mode: str
    model: str
    fit: bool
    detail: str
    self_test_calls: int
    self_test_valid: int


def read(message: pb.GetReviewerResponse) -> Reviewer:
    """The reviewer of an answer."""
    return Reviewer(
        reviewer=message.reviewer,
        mode=reading.word(pb.ReviewMode, "REVIEW_MODE", message.mode),
        model=message.model,
        fit=message.fit,
        detail=message.detail,
        self_test_calls=message.self_test_calls,
        self_test_valid=message.self_test_valid,
    )


def feed(channel: Any, kit: Kit[Any]) -> tuple[Feed[Reviewer], Task]:
    """The feed and its task."""
    kept: Feed[Reviewer] = Feed("reviewer", STALE_SECONDS, kit)
    stub = pb_grpc.ValidatorServiceStub(channel)

    async def ask() -> Reviewer:
        return read(await stub.GetReviewer(pb.GetReviewerRequest(), timeout=CALL_TIMEOUT_SECONDS))

    return kept, polled(kept, PACE, ask)
