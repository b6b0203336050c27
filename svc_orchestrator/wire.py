"""Messages of OrchestratorService ⇄ domain types."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from meshkit.fields import Fields
from schema.recommendation_rows import record_message
from svc_orchestrator.cancelling import Cancel, CancelFound, CancelResult
from svc_orchestrator.explain import Step, Story
from svc_orchestrator.funnel import Funnel, Stage
from svc_orchestrator.store import Decision
from tradekit import wire
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb

_RESULTS = {
    CancelResult.CANCELLED: pb.CANCEL_RECOMMENDATION_RESULT_CANCELLED,
    CancelResult.ALREADY_ENDED: pb.CANCEL_RECOMMENDATION_RESULT_ALREADY_ENDED,
    CancelResult.ORDER_GOES_ON: pb.CANCEL_RECOMMENDATION_RESULT_ORDER_GOES_ON,
}


class Wanted(NamedTuple):
    """What is to be explained: `by` is the field of the request that names it."""

    by: str
    id: UUID

    @property
    def kind(self) -> str:
        """recommendation, signal or order."""
        return self.by.removesuffix("_id")


def parse_from_time(request: pb.GetPipelineRequest) -> datetime | None:
    """The market time that the funnel begins with, None for all, or every violation."""
    fields = Fields()
    given = request.HasField("from_time")
    found = wire.read_time(fields, "from_time", request.from_time, present=given, required=False)
    fields.done()
    return found


def parse_explain(request: pb.ExplainRecommendationRequest) -> Wanted:
    """What is asked for, or every violation."""
    fields = Fields()
    by = request.WhichOneof("by") or ""
    fields.check("by", bool(by), "REQUIRED", "is not set; send a recommendation_id, signal_id or order_id")
    wanted = fields.uuid(by, getattr(request, by)) if by else None
    fields.done()
    assert wanted is not None
    return Wanted(by, wanted)


def parse_cancel(request: pb.CancelRecommendationRequest) -> Cancel:
    """The request, or every violation."""
    fields = Fields()
    cancel = Cancel(
        request_id=fields.uuid("request_id", request.request_id),
        recommendation_id=fields.uuid("recommendation_id", request.recommendation_id),
        note=fields.text("note", request.note, max_length=200),
    )
    fields.done()
    return cancel


def pipeline_message(funnel: Funnel) -> pb.GetPipelineResponse:
    """The funnel as a message."""
    response = pb.GetPipelineResponse(
        stages=[_stage(stage) for stage in funnel.stages],
        open_recommendations=funnel.open.recommendations,
        waiting_recommendations=funnel.open.waiting,
        open_orders=funnel.open.orders,
        unknown_orders=funnel.open.unknown_orders,
        resting_orders=funnel.open.resting_orders,
    )
    if funnel.market_time is not None:
        response.market_time.CopyFrom(wire.timestamp_message(funnel.market_time))
    return response


def _stage(stage: Stage) -> pb.StageStatus:
    status = pb.StageStatus(stage=stage.name, total=stage.total)
    for count in stage.counts:
        status.outcomes.add(outcome=count.outcome, reason=count.reason, count=count.items)
    if stage.watermark is not None:
        status.watermark.CopyFrom(wire.timestamp_message(stage.watermark))
    if stage.lag is not None:
        status.lag.FromTimedelta(stage.lag)
    return status


def story_message(story: Story) -> pb.ExplainRecommendationResponse:
    """The story as a message."""
    record = record_message(story.recommendation) if story.recommendation else None
    steps = [_step(step) for step in story.steps]
    return pb.ExplainRecommendationResponse(record=record, steps=steps, verdict=story.verdict)


def _step(step: Step) -> pb.ExplainStep:
    message = pb.ExplainStep(
        stage=step.stage,
        outcome=step.outcome,
        summary=step.summary,
        reasons=wire.reason_messages(step.reasons),
        facts=step.facts,
    )
    if step.as_of is not None:
        message.as_of.CopyFrom(wire.timestamp_message(step.as_of))
    if step.event_time is not None:
        message.event_time.CopyFrom(wire.timestamp_message(step.event_time))
    return message


def cancel_message(found: CancelFound) -> pb.CancelRecommendationResponse:
    """What a cancel found, as a message."""
    return pb.CancelRecommendationResponse(
        result=_RESULTS[found.result], record=record_message(found.recommendation), order_id=str(found.order_id or "")
    )


def result_of(response: pb.CancelRecommendationResponse) -> CancelResult:
    """What a cancel, or the stored answer of one, found."""
    return next(result for result, number in _RESULTS.items() if number == response.result)


def decisions_message(decisions: Iterable[Decision]) -> pb.DecisionBatch:
    """Changes of state as a message."""
    return pb.DecisionBatch(decisions=[_decision(decision) for decision in decisions])


def _decision(decision: Decision) -> pb.DecisionEvent:
    return pb.DecisionEvent(
        sequence=decision.sequence,
        recommendation_id=str(decision.recommendation_id),
        product_id=decision.product_id,
        side=wire.side_number(decision.side),
        from_state=wire.state_number(decision.from_state) if decision.from_state else None,
        to_state=wire.state_number(decision.to_state),
        decided_by=decision.decided_by,
        reasons=wire.reason_messages(decision.reasons),
        as_of=wire.timestamp_message(decision.as_of),
        event_time=wire.timestamp_message(decision.event_time),
    )
