"""trading.validator.v1 ⇄ domain types; a refusal names every violation at once."""

from dataclasses import dataclass
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from meshkit.errors import MeshError
from meshkit.fields import Fields
from svc_validator.review import Review, Validation
from tradekit import wire
from tradekit.recommendation import Recommendation, terms_hash
from tradekit.states import Origin, Side
from tradekit.wire import enum_number, read_recommendation, reason_messages, timestamp_message
from trading.common.v1 import stream_pb2
from trading.validator.v1 import validator_service_pb2 as pb

LARGEST_CREDIT = 256


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """A request to review; `terms` is the hash of the whole recommendation."""

    request_id: UUID
    recommendation: Recommendation
    terms: str


def read_request(message: pb.ValidateRecommendationRequest) -> ReviewRequest:
    """The request, or InvalidRequest with all violations. Exits are refused: they are never reviewed."""
    fields = Fields()
    request_id = fields.uuid("request_id", message.request_id)
    recommendation = read_recommendation(fields, "recommendation", message.recommendation)
    fields.check(
        "recommendation.side",
        recommendation.side is not Side.SELL,
        "ENTRY_ONLY",
        "is SELL; exits are never reviewed, send them to the risk engine",
    )
    fields.check(
        "recommendation.evidence",
        recommendation.evidence is None or recommendation.origin is Origin.SIGNAL,
        "NOT_ALLOWED",
        "is set; an operator's recommendation carries none",
    )
    fields.done()
    return ReviewRequest(request_id, recommendation, terms_hash(recommendation))


def read_open(message: pb.StreamValidationsRequest, granted: int) -> int:
    """Credit of a stream: what the client asks for, at most `granted`; a first frame that is no opening is refused."""
    fields = Fields()
    if fields.check("frame", message.HasField("open"), "INVALID_POSITION", "the first frame must open the stream"):
        fields.text("open.client", message.open.client, min_length=0, max_length=64)
        fields.integer("open.max_in_flight", message.open.max_in_flight, 1, LARGEST_CREDIT)
    fields.done()
    return min(message.open.max_in_flight, granted)


def validation_message(validation: Validation) -> pb.Validation:
    """The stored review as a message."""
    return pb.Validation(
        validation_id=str(validation.validation_id),
        recommendation_id=str(validation.recommendation_id),
        verdict=enum_number("VERDICT", validation.verdict, pb.Verdict),
        decided_by=validation.decided_by,
        mode=enum_number("REVIEW_MODE", validation.mode, pb.ReviewMode),
        reviews=[_review_message(review) for review in validation.reviews],
        decide_time=timestamp_message(validation.decide_time),
    )


def _review_message(review: Review) -> pb.Review:
    return pb.Review(
        reviewer=review.reviewer,
        outcome=enum_number("REVIEW_OUTCOME", review.outcome, pb.ReviewOutcome),
        reasons=reason_messages(review.reasons),
        enforced=review.enforced is not None,
        model=review.trace.model if review.trace else "",
        model_digest=review.trace.model_digest if review.trace else "",
        latency_ms=review.latency_ms,
    )


# ---- frames of the stream --------------------------------------------------------------------------------------------


def item_key(frame: pb.StreamValidationsRequest) -> str:
    """Key of an item; one without a request_id still is an item, so that its fault is answered."""
    return (frame.item.request_id or "without a request_id") if frame.HasField("item") else ""


def answer_frame(request_id: str, validation: Validation) -> pb.StreamValidationsResponse:
    """The answer of one item."""
    answer = pb.ValidationAnswer(request_id=request_id, validation=validation_message(validation))
    return pb.StreamValidationsResponse(answer=answer)


def opened_frame(credit: int) -> pb.StreamValidationsResponse:
    """The grant of credit."""
    return pb.StreamValidationsResponse(opened=pb.StreamValidationsOpened(max_in_flight=credit))


def heartbeat_frame(send_time: Timestamp) -> pb.StreamValidationsResponse:
    """A sign of life."""
    return pb.StreamValidationsResponse(heartbeat=stream_pb2.Heartbeat(send_time=send_time))


def draining_frame(reopen_seconds: float) -> pb.StreamValidationsResponse:
    """Notice that the server is going away."""
    return pb.StreamValidationsResponse(draining=wire.draining_message(round(reopen_seconds) or 1))


def item_error_frame(frame: pb.StreamValidationsRequest, error: MeshError) -> pb.StreamValidationsResponse:
    """The failure of one item."""
    item = frame.item
    message = wire.item_error_message(item.request_id, item.recommendation.recommendation_id, error)
    return pb.StreamValidationsResponse(item_error=message)
