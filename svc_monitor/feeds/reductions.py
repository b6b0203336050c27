"""Why the risk engine allowed another size than was recommended, for the recommendations that are shown.

A recommendation's own reasons are those of the stage that ended it, so an order that was filled leaves none of the risk
engine's. They are in its story, which never changes once there is an order: each is asked for once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from svc_monitor.feeds.reading import ReasonSeen
from svc_monitor.feeds.recommendations import Recommendation
from svc_monitor.pulse import Pulse
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc

# A story is several queries; a page that has just been opened is filled within seconds all the same.
MOST_AT_ONCE = 20
PACE = Pace(1.0, 5.0, 3.0)
STALE_SECONDS = 60.0
_WITH_AN_ORDER = ("EXECUTED", "FAILED")


@dataclass(frozen=True, slots=True)
class Reduction:
    """The risk engine's reasons for the size it allowed."""

    recommendation_id: str
    reasons: tuple[ReasonSeen, ...]


def unexplained(shown: Iterable[Recommendation], known: Mapping[str, Reduction]) -> list[str]:
    """Ids of recommendations of another size than was asked, whose reasons are not known yet; newest first as they come."""
    return [
        row.key
        for row in shown
        if row.state in _WITH_AN_ORDER
        and row.allowed_size is not None
        and Decimal(row.allowed_size) != Decimal(row.size)
        and row.key not in known
    ]


def read(story: pb.ExplainRecommendationResponse) -> tuple[ReasonSeen, ...]:
    """The reasons of the risk engine's newest word in a story."""
    words = [step for step in story.steps if step.stage == "risk"]
    return reading.reasons(words[-1].reasons) if words else ()


def feed(
    channel: Any, kit: Kit[Any], recommendations: Feed[dict[str, Recommendation]], news: Pulse
) -> tuple[Feed[dict[str, Reduction]], Task]:
    """The feed and its task."""
    kept: Feed[dict[str, Reduction]] = Feed("reductions", STALE_SECONDS, kit)
    stub = pb_grpc.OrchestratorServiceStub(channel)

    async def reasons_of(recommendation_id: str) -> tuple[ReasonSeen, ...]:
        request = pb.ExplainRecommendationRequest(recommendation_id=recommendation_id)
        try:
            return read(await stub.ExplainRecommendation(request, timeout=CALL_TIMEOUT_SECONDS))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return ()
            raise

    async def ask() -> dict[str, Reduction]:
        shown, before = recommendations.value or {}, kept.value or {}
        known = {key: found for key, found in before.items() if key in shown}
        for key in unexplained(shown.values(), known)[:MOST_AT_ONCE]:
            known[key] = Reduction(key, await reasons_of(key))
        # The same object where nothing changed: what is shown is not written out again.
        return before if kept.value is not None and known.keys() == before.keys() else known

    return kept, polled(kept, PACE, ask, news)
