"""OrchestratorService: the funnel, the decisions, and the story of each item; and the tasks that process them."""

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import RowMapping, select

from meshkit.errors import NotFound, Unavailable
from meshkit.fields import Fields
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec, Task
from schema import streams
from schema.recommendations import recommendation_events, trade_recommendations
from svc_orchestrator import corrections, store
from svc_orchestrator.cancelling import cancel_recommendation, parse_cancel
from svc_orchestrator.explain import explain_order, explain_recommendation, explain_signal
from svc_orchestrator.funnel import read_funnel
from svc_orchestrator.processor import RecommendationProcessor
from svc_orchestrator.settings import OrchestratorSettings
from svc_orchestrator.stages import open_stages
from svc_orchestrator.workers import Workers
from tradekit import services, wire
from tradekit.reasons import reasons_from_json
from tradekit.states import RecommendationState, Side
from tradekit.watching import Watched, frames, position
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc

_EXPLAINERS = {
    "recommendation_id": explain_recommendation,
    "signal_id": explain_signal,
    "order_id": explain_order,
}


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """The RPCs of the orchestrator; all but the operator's cancel read."""

    def __init__(self, kit: Kit[OrchestratorSettings]) -> None:
        self._kit = kit

    async def GetPipeline(self, request: pb.GetPipelineRequest, context: Any) -> pb.GetPipelineResponse:
        """The funnel."""
        fields = Fields()
        from_time = wire.read_time(
            fields, "from_time", request.from_time, present=request.HasField("from_time"), required=False
        )
        fields.done()
        async with self._kit.engine.connect() as connection:
            # One snapshot, so that the counts of the stages fit each other.
            await connection.execution_options(isolation_level="REPEATABLE READ")
            return await read_funnel(connection, from_time)

    async def ExplainRecommendation(
        self, request: pb.ExplainRecommendationRequest, context: Any
    ) -> pb.ExplainRecommendationResponse:
        """One item's story."""
        fields = Fields()
        by = request.WhichOneof("by")
        fields.check("by", by is not None, "REQUIRED", "is not set; send a recommendation_id, signal_id or order_id")
        wanted = fields.uuid(by, getattr(request, by)) if by else None
        fields.done()
        async with self._kit.engine.connect() as connection:
            story = await _EXPLAINERS[str(by)](connection, UUID(str(wanted)))
        if story is None:
            raise NotFound(str(by).removesuffix("_id"), wanted)
        return story

    async def CancelRecommendation(
        self, request: pb.CancelRecommendationRequest, context: Any
    ) -> pb.CancelRecommendationResponse:
        """An operator's word that one should not be carried out."""
        cancel = parse_cancel(request)
        async with self._kit.engine.begin() as connection:
            response = await cancel_recommendation(connection, self._kit.settings.service_name, cancel)
        result = pb.CancelRecommendationResult.Name(response.result).removeprefix("CANCEL_RECOMMENDATION_RESULT_")
        self._kit.log.warning(
            "cancel_requested", recommendation_id=str(cancel.recommendation_id), note=cancel.note, result=result
        )
        return response

    async def WatchDecisions(
        self, request: pb.WatchDecisionsRequest, context: Any
    ) -> AsyncIterator[pb.WatchDecisionsResponse]:
        """Changes of state after a sequence, then new ones, with the orchestrator's watermark."""
        after = position(request, await self._head())
        watched = Watched(streams.DECISIONS, self._events, _frame, self._watermark)
        async for frame in frames(self._kit, after, watched, pb.WatchDecisionsResponse):
            yield frame

    async def _events(self, after: int, limit: int) -> list[RowMapping]:
        events, ideas = recommendation_events, trade_recommendations
        query = (
            select(events, ideas.c.product_id, ideas.c.side)
            .join(ideas, ideas.c.recommendation_id == events.c.recommendation_id)
            .where(events.c.sequence > after)
            .order_by(events.c.sequence)
            .limit(limit)
        )
        async with self._kit.engine.connect() as connection:
            return list((await connection.execute(query)).mappings())

    async def _head(self) -> int:
        async with self._kit.engine.connect() as connection:
            return await store.head_sequence(connection)

    async def _watermark(self) -> streams.Watermark | None:
        async with self._kit.engine.connect() as connection:
            return await streams.read_watermark(connection, "orchestrator")


def _frame(rows: Sequence[RowMapping]) -> pb.WatchDecisionsResponse:
    return pb.WatchDecisionsResponse(batch=pb.DecisionBatch(decisions=[_decision(row) for row in rows]))


def _decision(row: RowMapping) -> pb.DecisionEvent:
    return pb.DecisionEvent(
        sequence=row["sequence"],
        recommendation_id=str(row["recommendation_id"]),
        product_id=row["product_id"],
        side=wire.side_number(Side(row["side"])),
        from_state=wire.state_number(RecommendationState(row["from_state"])) if row["from_state"] else None,
        to_state=wire.state_number(RecommendationState(row["to_state"])),
        decided_by=row["decided_by"],
        reasons=wire.reason_messages(reasons_from_json(row["reasons"])),
        as_of=wire.timestamp_message(row["as_of"]),
        event_time=wire.timestamp_message(row["created_at"]),
    )


def build(settings: OrchestratorSettings, kit: Kit[OrchestratorSettings]) -> ServiceSpec:
    """The orchestrator as meshkit runs it."""
    owner = f"orchestrator-{os.getpid()}-{secrets.token_hex(4)}"
    stages = open_stages(settings, kit)
    workers = Workers(settings, kit, RecommendationProcessor(settings, kit, stages, owner), owner)

    channel = kit.channel(settings.executor_address, services.EXECUTOR.full_name)
    executor_health: Any = health_pb2_grpc.HealthStub(channel)

    async def executor_takes_entries() -> None:
        request = health_pb2.HealthCheckRequest(service=f"{services.EXECUTOR.full_name}/entries")
        answer = await executor_health.Check(request, timeout=1.0)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the executor takes no entries")

    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_OrchestratorServiceServicer_to_server,
                OrchestratorServicer(kit),
                services.ORCHESTRATOR.full_name,
            )
        ],
        background=[
            Task("validations", stages.validations.run),
            Task("assessments", stages.assessments.run),
            *(Task(f"process-{pool.name}", partial(workers.run_pool, pool)) for pool in workers.pools),
            *(
                Task(f"listen-{channel}", partial(workers.listen, channel))
                for channel in (streams.RECOMMENDATIONS, streams.WATERMARKS, streams.ORDERS)
            ),
            Task("renew-leases", workers.renew_leases),
            Task("correct-ends", partial(corrections.run, kit, workers.outages)),
        ],
        ready=[Check("database", kit.check_database)],
        entries=[
            Check("validator", stages.validations.check),
            Check("risk", stages.assessments.check),
            Check("executor", executor_takes_entries),
        ],
        on_stop=workers.release,
    )
