"""OrchestratorService: the funnel, the decisions, and the story of each item; and the tasks that process them."""

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.background import after
from meshkit.errors import NotFound, Unavailable
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec, Task
from schema import streams
from schema.presence import schema_check
from schema.requests import once, request_key
from svc_orchestrator import corrections, funnel_store, store, story_store, wire
from svc_orchestrator.cancelling import cancel_recommendation
from svc_orchestrator.explain import tell
from svc_orchestrator.funnel import funnel_of
from svc_orchestrator.processor import RecommendationProcessor
from svc_orchestrator.settings import OrchestratorSettings
from svc_orchestrator.stages import open_stages
from svc_orchestrator.workers import Workers
from tradekit import services
from tradekit.watching import Watched, frames, position
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc

METHOD_CANCEL = "CancelRecommendation"
_STORIES = {
    "recommendation": story_store.of_recommendation,
    "signal": story_store.of_signal,
    "order": story_store.of_order,
}


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """The RPCs of the orchestrator; all but the operator's cancel read."""

    def __init__(self, kit: Kit[OrchestratorSettings]) -> None:
        self._kit = kit

    async def GetPipeline(self, request: pb.GetPipelineRequest, context: ServicerContext) -> pb.GetPipelineResponse:
        """The funnel."""
        from_time = wire.parse_from_time(request)
        async with self._kit.engine.connect() as connection:
            # One snapshot, so that the counts of the stages fit each other.
            await connection.execution_options(isolation_level="REPEATABLE READ")
            rows = await funnel_store.read_funnel(connection, from_time)
        return wire.pipeline_message(funnel_of(rows))

    async def ExplainRecommendation(
        self, request: pb.ExplainRecommendationRequest, context: ServicerContext
    ) -> pb.ExplainRecommendationResponse:
        """One item's story."""
        wanted = wire.parse_explain(request)
        async with self._kit.autocommit.connect() as connection:
            rows = await _STORIES[wanted.kind](connection, wanted.id)
        if rows is None:
            raise NotFound(wanted.kind, wanted.id)
        return wire.story_message(tell(rows))

    async def CancelRecommendation(
        self, request: pb.CancelRecommendationRequest, context: ServicerContext
    ) -> pb.CancelRecommendationResponse:
        """An operator's word that one should not be carried out."""
        cancel = wire.parse_cancel(request)
        key = request_key(self._kit.settings.service_name, METHOD_CANCEL, cancel.request_id, cancel.body_hash)
        async with self._kit.engine.begin() as connection:

            async def effect() -> pb.CancelRecommendationResponse:
                return wire.cancel_message(await cancel_recommendation(connection, cancel))

            response, _ = await once(connection, key, pb.CancelRecommendationResponse, effect)
        self._kit.log.warning(
            "cancel_requested",
            recommendation_id=str(cancel.recommendation_id),
            note=cancel.note,
            result=wire.result_of(response).value,
        )
        return response

    async def WatchDecisions(
        self, request: pb.WatchDecisionsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchDecisionsResponse]:
        """Changes of state after a sequence, then new ones, with the orchestrator's watermark."""
        after = position(request, await self._head())
        watched = Watched(streams.DECISIONS, self._decisions, _frame, self._watermark)
        async for frame in frames(self._kit, after, watched, pb.WatchDecisionsResponse):
            yield frame

    async def _decisions(self, after: int, limit: int) -> list[store.Decision]:
        async with self._kit.autocommit.connect() as connection:
            return await store.decisions_after(connection, after, limit)

    async def _head(self) -> int:
        async with self._kit.autocommit.connect() as connection:
            return await store.head_sequence(connection)

    async def _watermark(self) -> streams.Watermark | None:
        async with self._kit.autocommit.connect() as connection:
            return await streams.read_watermark(connection, "orchestrator")


def _frame(decisions: Sequence[store.Decision]) -> pb.WatchDecisionsResponse:
    return pb.WatchDecisionsResponse(batch=wire.decisions_message(decisions))


def build(settings: OrchestratorSettings, kit: Kit[OrchestratorSettings]) -> ServiceSpec:
    """The orchestrator as meshkit runs it."""
    owner = f"orchestrator-{os.getpid()}-{secrets.token_hex(4)}"
    stages = open_stages(settings, kit)
    workers = Workers(settings, kit, RecommendationProcessor(settings, kit, stages, owner), owner)

    channel = kit.channel(settings.address(services.EXECUTOR), services.EXECUTOR.full_name)
    executor_health: Any = health_pb2_grpc.HealthStub(channel)

    async def executor_takes_entries() -> None:
        request = health_pb2.HealthCheckRequest(service=f"{services.EXECUTOR.full_name}/entries")
        answer = await executor_health.Check(request, timeout=1.0)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", "the executor takes no entries")

    schema = schema_check(kit)
    tasks = [
        Task("validations", stages.validations.run),
        Task("assessments", stages.assessments.run),
        Task("process", workers.run),
        *(
            Task(f"listen-{channel}", partial(workers.listen, channel))
            for channel in (streams.PROPOSALS, streams.WATERMARKS, streams.ORDERS)
        ),
        Task("renew-leases", workers.renew_leases),
        Task("correct-ends", partial(corrections.run, kit, workers.outages)),
    ]
    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_OrchestratorServiceServicer_to_server,
                OrchestratorServicer(kit),
                services.ORCHESTRATOR.full_name,
            )
        ],
        background=after(schema, tasks, kit),
        ready=[Check("database", kit.check_database), schema],
        entries=[
            Check("validator", stages.validations.check),
            Check("risk", stages.assessments.check),
            Check("executor", executor_takes_entries),
        ],
        on_stop=workers.release,
    )
