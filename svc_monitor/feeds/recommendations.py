"""The latest recommendations and their outcome: the newest page, then every change after it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed
from svc_monitor.feeds.latest import STALE_SECONDS, consumed
from svc_monitor.feeds.reading import ReasonSeen
from svc_monitor.pulse import Pulse
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.bridge.v1 import bridge_service_pb2_grpc as pb_grpc
from trading.common.v1 import recommendation_pb2, trade_pb2

KEPT = 100


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A recommendation and its state so far; sizes in quote currency for BUY, in base units for SELL."""

    recommendation_id: str
    product_id: str
    side: str
    size: str
    allowed_size: str | None
    reference_price: str | None
    state: str
    decided_by: str
    reasons: tuple[ReasonSeen, ...]
    origin: str
    profile: str
    confidence: float | None
    note: str
    order_id: str
    as_of: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    sequence: int

    @property
    def key(self) -> str:
        return self.recommendation_id


def read(message: recommendation_pb2.RecommendationRecord) -> Recommendation:
    """The recommendation of a record."""
    recommendation = message.recommendation
    return Recommendation(
        recommendation_id=recommendation.recommendation_id,
        product_id=recommendation.product_id,
        side=reading.side(recommendation.side),
        size=getattr(recommendation, recommendation.WhichOneof("size") or "quote_size").value,
        allowed_size=reading.number(message, "adjusted_size"),
        reference_price=reading.number(recommendation, "reference_price"),
        state=reading.word(recommendation_pb2.RecommendationState, "RECOMMENDATION_STATE", message.state),
        decided_by=message.decided_by,
        reasons=reading.reasons(message.reasons),
        origin=reading.word(recommendation_pb2.RecommendationOrigin, "RECOMMENDATION_ORIGIN", recommendation.origin),
        profile=reading.word(trade_pb2.DecisionProfile, "DECISION_PROFILE", recommendation.profile),
        confidence=recommendation.evidence.confidence if recommendation.HasField("evidence") else None,
        note=recommendation.note,
        order_id=message.order_id,
        as_of=reading.moment(recommendation, "as_of"),
        created_at=reading.moment(message, "create_time"),
        updated_at=reading.moment(message, "update_time"),
        sequence=message.sequence,
    )


def feed(channel: Any, kit: Kit[Any], news: Pulse) -> tuple[Feed[dict[str, Recommendation]], Task]:
    """The feed and its task."""
    kept: Feed[dict[str, Recommendation]] = Feed("recommendations", STALE_SECONDS, kit)
    stub = pb_grpc.BridgeServiceStub(channel)

    async def first_page() -> list[Recommendation]:
        request = pb.ListRecommendationsRequest(page_size=KEPT)
        page = await stub.ListRecommendations(request, timeout=CALL_TIMEOUT_SECONDS)
        return [read(record) for record in page.records]

    def open_watch(after: int) -> Any:
        return stub.WatchRecommendations(pb.WatchRecommendationsRequest(after_sequence=after))

    def rows_of(frame: pb.WatchRecommendationsResponse) -> list[Recommendation]:
        return [read(record) for record in frame.batch.records]

    return kept, consumed(kept, kit, KEPT, first_page, open_watch, rows_of, news)
