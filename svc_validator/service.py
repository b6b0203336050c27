"""ValidatorService: parse, review, answer. What is decided and why stands in review_service.py and the rooms it calls."""

from collections.abc import AsyncIterator

from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.stream import AnswerFrames, answer_items
from svc_validator import wire
from svc_validator.decision import Plan
from svc_validator.prompt import prompt_version
from svc_validator.review import RULES
from svc_validator.review_service import ReviewService
from svc_validator.reviewers.reviewer import OutsideReviewer
from svc_validator.reviewers.table import OUTSIDE_REVIEWERS
from svc_validator.settings import ValidatorSettings
from tradekit.wire import enum_number, timestamp_message
from trading.validator.v1 import validator_service_pb2 as pb
from trading.validator.v1 import validator_service_pb2_grpc as pb_grpc

# Unanswered items of one stream; a model that thinks for seconds gains nothing from more.
STREAM_CREDIT = 128
# A stream item has no deadline of its own on the wire; the unary call's is in the contract.
ITEM_SECONDS = 30.0


class ValidatorServicer(pb_grpc.ValidatorServiceServicer):
    """The RPCs of the validator."""

    def __init__(
        self, kit: Kit[ValidatorSettings], review_service: ReviewService, model: OutsideReviewer | None
    ) -> None:
        self._kit = kit
        self._review_service = review_service
        self._model = model
        self._frames: AnswerFrames[pb.StreamValidationsRequest, pb.StreamValidationsResponse] = AnswerFrames(
            is_opening=lambda frame: frame.HasField("open"),
            key_of=wire.item_key,
            opened=wire.opened_frame,
            heartbeat=lambda: wire.heartbeat_frame(timestamp_message(kit.clock.now())),
            draining=wire.draining_frame,
            item_error=wire.item_error_frame,
            traceparent_of=lambda frame: frame.traceparent,
            deadline_of=lambda frame: ITEM_SECONDS,
        )

    async def ValidateRecommendation(
        self, request: pb.ValidateRecommendationRequest, context: ServicerContext
    ) -> pb.ValidateRecommendationResponse:
        """Reviews one recommendation, or gives the stored review."""
        validation = await self._review_service.validate(wire.read_request(request))
        return pb.ValidateRecommendationResponse(validation=wire.validation_message(validation))

    async def StreamValidations(
        self, request_iterator: AsyncIterator[pb.StreamValidationsRequest], context: ServicerContext
    ) -> AsyncIterator[pb.StreamValidationsResponse]:
        """Reviews items as they come, within the credit of the opening."""
        first = await anext(request_iterator, None)
        if first is None:
            return
        credit = wire.read_open(first, STREAM_CREDIT)
        frames = _with_first(first, request_iterator)
        async for answer in answer_items(frames, self._item, frames=self._frames, kit=self._kit, max_in_flight=credit):
            yield answer

    async def GetReviewer(self, request: pb.GetReviewerRequest, context: ServicerContext) -> pb.GetReviewerResponse:
        """Who reviews now, and how the model's self-test went."""
        model = self._model
        chosen = self._review_service.plan()
        outside = model.label if model is not None else OUTSIDE_REVIEWERS[0].label
        response = pb.GetReviewerResponse(
            reviewer=outside if chosen in (Plan.MODEL_MAY_VETO, Plan.REFUSE) else RULES,
            mode=enum_number("REVIEW_MODE", self._kit.settings.llm_mode, pb.ReviewMode),
            detail=_detail(chosen, model),
            prompt_version=prompt_version(),
        )
        if model is not None:
            response.model = model.model
            response.model_digest = model.digest
            response.fit = model.self_test.fit
            response.self_test_calls = model.self_test.calls
            response.self_test_valid = model.self_test.valid
        return response

    async def _item(self, frame: pb.StreamValidationsRequest) -> pb.StreamValidationsResponse:
        validation = await self._review_service.validate(wire.read_request(frame.item))
        return wire.answer_frame(frame.item.request_id, validation)


async def _with_first(
    first: pb.StreamValidationsRequest, rest: AsyncIterator[pb.StreamValidationsRequest]
) -> AsyncIterator[pb.StreamValidationsRequest]:
    yield first
    async for frame in rest:
        yield frame


def _detail(chosen: Plan, model: OutsideReviewer | None) -> str:
    """Why the model does not decide, and what to do."""
    if chosen is Plan.MODEL_MAY_VETO:
        return ""
    refused = "entries are refused; set LLM_ON_FAILURE=rules to let the rules decide. " if chosen is Plan.REFUSE else ""
    if model is None:
        return refused + f"no model is configured; {' or '.join(one.advice for one in OUTSIDE_REVIEWERS)}"
    if not model.self_test.fit:
        return refused + model.self_test.detail
    return "LLM_MODE=shadow: the model's verdict is recorded, the rules decide; set LLM_MODE=veto to enforce it"
