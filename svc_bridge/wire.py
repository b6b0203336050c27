"""Messages ⇄ domain types of the bridge."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from meshkit import paging
from meshkit.fields import Fields
from svc_bridge.operator_recommendation import OperatorRecommendation
from svc_bridge.proposal import SignalSeen
from tradekit import wire
from tradekit.recommendation import Evidence
from tradekit.sizes import order_size
from tradekit.states import Profile, RecommendationState, Side, SignalSide
from tradekit.units import Price, ProductId
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.common.v1 import recommendation_pb2
from trading.signal.v1 import signal_service_pb2 as signal_pb


@dataclass(frozen=True, slots=True)
class RecommendationFilter:
    """A parsed ListRecommendationsRequest; `before` is creation time and id of the last row shown."""

    product_id: ProductId | None
    state: RecommendationState | None
    page_size: int
    before: tuple[datetime, UUID] | None


def parse_create(message: pb.CreateRecommendationRequest) -> OperatorRecommendation:
    """The operator's recommendation, or InvalidRequest with every violation."""
    fields = Fields()
    request_id = fields.uuid("request_id", message.request_id)
    product_id = wire.read_product_id(fields, "product_id", message.product_id)
    side = wire.read_side(fields, "side", message.side)
    own, other = ("quote_size", "base_size") if side is Side.BUY else ("base_size", "quote_size")
    fields.check(other, not message.HasField(other), "NOT_ALLOWED", f"is set; a {side.value} is sized by {own}")
    size = None
    if message.HasField(own):
        number = wire.read_decimal(fields, own, getattr(message, own), present=True, low=Decimal(0), low_open=True)
        size = order_size(side, number)
    note = fields.text("note", message.note, min_length=0, max_length=200)
    plan = None
    if message.HasField("exit_plan"):
        fields.check("exit_plan", side is Side.BUY, "NOT_ALLOWED", "is set; only a BUY has a way out to plan")
        plan = wire.read_exit_plan(fields, "exit_plan", message.exit_plan)
    fields.done()
    return OperatorRecommendation(request_id, product_id, side, size, note, plan)


def parse_get(message: pb.GetRecommendationRequest) -> UUID:
    """The recommendation's id."""
    fields = Fields()
    found = fields.uuid("recommendation_id", message.recommendation_id)
    fields.done()
    return found


def parse_list(message: pb.ListRecommendationsRequest) -> RecommendationFilter:
    """The filter and page."""
    fields = Fields()
    product = wire.read_product_id(fields, "product_id", message.product_id) if message.product_id else None
    state = None
    if message.state:
        state = fields.enum(
            "state",
            message.state,
            recommendation_pb2.RecommendationState,
            "RECOMMENDATION_STATE",
            RecommendationState,
        )
    page = fields.page(message.page_size, message.page_token, default=100, maximum=1000, scope=_scope(message))
    before = fields.parse("page_token", page.position, _position, None, "INVALID_POSITION") if page.position else None
    fields.done()
    return RecommendationFilter(product, state, page.size, before)


def page_token(message: pb.ListRecommendationsRequest, created_at: datetime, recommendation_id: UUID) -> str:
    """Token of the page after a row."""
    return paging.encode({"at": created_at.isoformat(), "id": str(recommendation_id)}, _scope(message))


def _scope(message: pb.ListRecommendationsRequest) -> str:
    return f"recommendations|{message.product_id}|{message.state}"


def _position(position: Mapping[str, str | int]) -> tuple[datetime, UUID]:
    if position.keys() != {"at", "id"}:
        raise ValueError("page token has another form")
    at = datetime.fromisoformat(str(position["at"]))
    if at.tzinfo is None:
        raise ValueError("page token holds a time without its zone")
    return at, UUID(str(position["id"]))


def signal_of(message: signal_pb.Signal) -> SignalSeen:
    """A signal that the signal service sent."""
    evidence = Evidence(
        signal_id=UUID(message.signal_id),
        confidence=message.confidence,
        p_down=message.p_down,
        p_neutral=message.p_neutral,
        p_up=message.p_up,
        edge=message.edge,
        expected_net=message.expected_net,
        sigma_horizon=message.sigma_horizon,
        model_version=message.model_version,
        feature_set_hash=message.feature_set_hash,
        # More than a recommendation may carry would be refused by every stage after this one, exits too.
        features=tuple(message.features[: wire.LARGEST_FEATURES]),
    )
    return SignalSeen(
        signal_id=evidence.signal_id,
        product_id=ProductId(message.product_id),
        granularity=int(message.granularity),
        side=SignalSide(signal_pb.SignalSide.Name(message.side).removeprefix("SIGNAL_SIDE_")),
        as_of=wire.time_of(message.as_of),
        reference_price=Price(Decimal(message.reference_price.value)),
        profile=Profile("EXERCISE" if message.profile == 2 else "EVIDENCE"),
        evidence=evidence,
        reasons=wire.reasons_of(message.reasons),
        sequence=message.sequence,
    )
