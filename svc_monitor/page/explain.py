"""Asks the orchestrator for the story of one recommendation, and turns it into what the page shows."""

from typing import Any
from uuid import UUID

import grpc

from meshkit.errors import from_rpc_error
from svc_monitor.feeds import reading, recommendations
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc

_TIMEOUT_SECONDS = 5.0


async def story(channel: Any, recommendation_id: UUID) -> dict[str, Any]:
    """The story; MeshError if there is none, or nobody to tell it."""
    stub = pb_grpc.OrchestratorServiceStub(channel)
    request = pb.ExplainRecommendationRequest(recommendation_id=str(recommendation_id))
    try:
        answer = await stub.ExplainRecommendation(request, timeout=_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    return {
        "verdict": answer.verdict,
        "record": recommendations.read(answer.record) if answer.HasField("record") else None,
        "steps": [_step(step) for step in answer.steps],
    }


def _step(step: pb.ExplainStep) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "outcome": step.outcome,
        "summary": step.summary,
        "reasons": reading.reasons(step.reasons),
        "facts": dict(sorted(step.facts.items())),
        "as_of": reading.moment(step, "as_of"),
        "event_time": reading.moment(step, "event_time"),
    }
