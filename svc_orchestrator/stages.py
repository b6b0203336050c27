"""The three stages as the orchestrator asks them: two work streams and one unary call, each answer parsed once.

An answer that is incomplete, about another item, or beyond what was asked approves nothing. It is a violation of the
contract by its stage, and no outage: asking again brings the same answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import grpc

from meshkit.errors import MeshError, Violation, from_rpc_error, rebuild
from meshkit.kit import Kit
from meshkit.stream import AskFrames, ItemStream
from svc_orchestrator.settings import OrchestratorSettings
from svc_orchestrator.steps import (
    Approved,
    OrderSeen,
    Proceed,
    Terminal,
    after_assessment,
    after_validation,
    violation,
)
from tradekit import ids, services, wire
from tradekit.recommendation import Recommendation
from tradekit.sizes import order_size
from tradekit.states import OrderState, OrderType, ReviewOutcome, ReviewVerdict, RiskDecision
from tradekit.units import BaseSize
from trading.common.v1 import error_pb2, stream_pb2
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc
from trading.risk.v1 import risk_service_pb2 as risk_pb
from trading.risk.v1 import risk_service_pb2_grpc as risk_grpc
from trading.validator.v1 import validator_service_pb2 as validator_pb
from trading.validator.v1 import validator_service_pb2_grpc as validator_grpc

T = TypeVar("T")
CLIENT = "orchestrator"
# The executor waits for an order this long, and tells then how it stands.
EXECUTE_SECONDS = 20.0
FIND_SECONDS = 5.0


class ContractViolation(Exception):
    """A stage gave an answer that the contract does not know."""

    def __init__(self, stage: str, what: str) -> None:
        super().__init__(f"{stage} gave an answer outside its contract: {what}")
        self.reason = violation(stage, what)


def error_of_item(message: error_pb2.ItemError) -> MeshError:
    """An item error as the error it was at the other end."""
    name = error_pb2.ErrorReason.Name(message.reason).removeprefix("ERROR_REASON_")
    violations = [Violation(v.field, v.rule, v.description) for v in message.violations]
    wait = message.retry_after.ToTimedelta().total_seconds() if message.HasField("retry_after") else None
    return rebuild(message.code, name, message.message, violations=violations, retry_after=wait)


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages; `validations` and `assessments` are streams whose `run` the service owns."""

    validations: ItemStream[Any, Any]
    assessments: ItemStream[Any, Any]
    executor: executor_grpc.ExecutorServiceStub
    deadline: float

    async def validate(self, recommendation: Recommendation) -> Proceed | Terminal:
        """The review of an entry. Raises MeshError or ContractViolation."""
        request_id = str(ids.stage_request_id("validator", recommendation.recommendation_id))
        item = validator_pb.ValidateRecommendationRequest(
            request_id=request_id, recommendation=wire.recommendation_message(recommendation)
        )
        frame = await self.validations.ask(request_id, validator_pb.StreamValidationsRequest(item=item), self.deadline)
        return _understood("validator", lambda: _review(frame.answer.validation, recommendation))

    async def assess(self, recommendation: Recommendation, seconds: float | None = None) -> Approved | Terminal:
        """The risk engine's decision within `seconds`, None for a stage's usual time. Raises MeshError, ContractViolation.

        Whoever names a time does not wait for the stream to come up either.
        """
        if seconds is not None:
            await self.assessments.check()
        request_id = str(ids.stage_request_id("risk", recommendation.recommendation_id))
        item = risk_pb.AssessRecommendationRequest(
            request_id=request_id, recommendation=wire.recommendation_message(recommendation)
        )
        frame = await self.assessments.ask(
            request_id, risk_pb.StreamAssessmentsRequest(item=item), seconds or self.deadline
        )
        return _understood("risk", lambda: _assessment(frame.answer.assessment, recommendation))

    async def execute(self, recommendation: Recommendation, approved: Approved) -> OrderSeen:
        """Asks for the order; the same ids give the same order. Raises MeshError or ContractViolation."""
        request = executor_pb.ExecuteRecommendationRequest(
            request_id=str(ids.stage_request_id("executor", recommendation.recommendation_id)),
            recommendation=wire.recommendation_message(recommendation),
            size=wire.amount_message(approved.size),
            ticket=approved.ticket,
        )
        try:
            response = await self.executor.ExecuteRecommendation(request, timeout=EXECUTE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return _understood("executor", lambda: _order(response.order, recommendation.recommendation_id))

    async def find_order(self, recommendation_id: UUID) -> OrderSeen | None:
        """The order of a recommendation, None if the executor has none. Raises MeshError or ContractViolation."""
        request = executor_pb.GetOrderRequest(recommendation_id=str(recommendation_id))
        try:
            response = await self.executor.GetOrder(request, timeout=FIND_SECONDS)
        except grpc.aio.AioRpcError as error:
            found = from_rpc_error(error)
            if found.reason == "NOT_FOUND":
                return None
            raise found from error
        return _understood("executor", lambda: _order(response.order, recommendation_id))


def open_stages(settings: OrchestratorSettings, kit: Kit[OrchestratorSettings]) -> Stages:
    """Stubs and streams to the three stages, none of them connected yet."""
    validator = validator_grpc.ValidatorServiceStub(
        kit.channel(settings.address(services.VALIDATOR), services.VALIDATOR.full_name)
    )
    risk = risk_grpc.RiskServiceStub(kit.channel(settings.address(services.RISK), services.RISK.full_name))
    executor = executor_grpc.ExecutorServiceStub(
        kit.channel(settings.address(services.EXECUTOR), services.EXECUTOR.full_name)
    )
    wanted = settings.orchestrator_concurrency * 2
    validations = _stream(
        "validator",
        validator.StreamValidations,
        validator_pb.StreamValidationsRequest,
        validator_pb.StreamValidationsOpen(client=CLIENT, max_in_flight=wanted),
        kit,
    )
    assessments = _stream(
        "risk",
        risk.StreamAssessments,
        risk_pb.StreamAssessmentsRequest,
        risk_pb.StreamAssessmentsOpen(client=CLIENT, max_in_flight=wanted),
        kit,
    )
    return Stages(validations, assessments, executor, settings.stage_deadline_seconds)


def _stream(
    stage: str, call: Any, request: Callable[..., Any], opening: Any, kit: Kit[OrchestratorSettings]
) -> ItemStream[Any, Any]:
    """A work stream; the frames of all stages have the same names for the same things."""
    frames: AskFrames[Any, Any] = AskFrames(
        opening=lambda: request(open=opening),
        is_opened=_credit,
        key_of=_key,
        is_heartbeat=lambda frame: frame.WhichOneof("frame") == "heartbeat",
        is_draining=lambda frame: frame.WhichOneof("frame") == "draining",
        error_of=_error,
        heartbeat=lambda: request(heartbeat=stream_pb2.Heartbeat()),
        with_traceparent=_traced,
    )
    return ItemStream(stage, call, frames, kit)


def _credit(frame: Any) -> int | None:
    return int(frame.opened.max_in_flight) if frame.WhichOneof("frame") == "opened" else None


def _key(frame: Any) -> str:
    kind = frame.WhichOneof("frame")
    if kind == "answer":
        return str(frame.answer.request_id)
    return str(frame.item_error.request_id) if kind == "item_error" else ""


def _error(frame: Any) -> MeshError | None:
    return error_of_item(frame.item_error) if frame.WhichOneof("frame") == "item_error" else None


def _traced(frame: Any, traceparent: str) -> Any:
    frame.traceparent = traceparent
    return frame


def _understood(stage: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except (ValueError, ArithmeticError) as error:
        raise ContractViolation(stage, str(error)) from error


def _about(answered: str, asked: UUID) -> None:
    if answered != str(asked):
        raise ValueError(f"it is about {answered or 'nothing'}, asked was {asked}")


def _review(validation: validator_pb.Validation, recommendation: Recommendation) -> Proceed | Terminal:
    _about(validation.recommendation_id, recommendation.recommendation_id)
    verdict = ReviewVerdict(validator_pb.Verdict.Name(validation.verdict).removeprefix("VERDICT_"))
    enforced: Sequence[validator_pb.Review] = [review for review in validation.reviews if review.enforced]
    names = [validator_pb.ReviewOutcome.Name(r.outcome).removeprefix("REVIEW_OUTCOME_") for r in enforced]
    reasons = tuple(reason for review in enforced for reason in wire.reasons_of(review.reasons))
    return after_validation(verdict, validation.decided_by, ReviewOutcome.EXPIRED.value in names, reasons)


def _assessment(assessment: risk_pb.Assessment, recommendation: Recommendation) -> Approved | Terminal:
    _about(assessment.recommendation_id, recommendation.recommendation_id)
    decision = RiskDecision(risk_pb.Decision.Name(assessment.decision).removeprefix("DECISION_"))
    size = order_size(recommendation.side, Decimal(assessment.adjusted_size.value or "0"))
    reasons = wire.reasons_of(assessment.reasons)
    return after_assessment(decision, recommendation.size, size, assessment.ticket, recommendation.side, reasons)


def _order(message: executor_pb.Order, recommendation_id: UUID) -> OrderSeen:
    _about(message.recommendation_id, recommendation_id)
    return OrderSeen(
        order_id=UUID(message.order_id),
        state=OrderState(executor_pb.OrderState.Name(message.state).removeprefix("ORDER_STATE_")),
        filled_size=BaseSize(Decimal(message.filled_size.value or "0")),
        reasons=wire.reasons_of(message.reasons),
        order_type=OrderType(executor_pb.OrderType.Name(message.order_type).removeprefix("ORDER_TYPE_")),
    )
