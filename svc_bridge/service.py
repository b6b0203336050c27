"""BridgeService: parse, decide, store, answer."""

from collections.abc import AsyncIterator, Sequence

from meshkit.background import after
from meshkit.errors import NotFound
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec
from schema import streams
from schema.presence import schema_check
from schema.recommendation_rows import StoredRecommendation, record_message
from schema.requests import request_key
from svc_bridge import store
from svc_bridge.creation import CreationRequest, Creations
from svc_bridge.recommendation_watch import RecommendationWatch
from svc_bridge.settings import BridgeSettings
from svc_bridge.signal_consumer import SignalConsumer
from svc_bridge.wire import page_token, parse_create, parse_get, parse_list
from tradekit import services
from tradekit.watching import ROW_SPACING_SECONDS, Watched, frames, position
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.bridge.v1 import bridge_service_pb2_grpc as pb_grpc


class BridgeServicer(pb_grpc.BridgeServiceServicer):
    """The RPCs of the bridge."""

    def __init__(self, settings: BridgeSettings, kit: Kit[BridgeSettings]) -> None:
        self._settings = settings
        self._kit = kit
        self._creations = Creations(settings, kit.dedicated)

    async def CreateRecommendation(
        self, request: pb.CreateRecommendationRequest, context: ServicerContext
    ) -> pb.CreateRecommendationResponse:
        """Enters an operator's recommendation; the same request_id gives the stored answer."""
        recommendation = parse_create(request)
        key = request_key(self._settings.service_name, "CreateRecommendation", recommendation.request_id, request)
        return await self._creations.create(CreationRequest(key, recommendation))

    async def GetRecommendation(
        self, request: pb.GetRecommendationRequest, context: ServicerContext
    ) -> pb.GetRecommendationResponse:
        """One recommendation."""
        wanted = parse_get(request)
        async with self._kit.autocommit.connect() as connection:
            found = await store.get_recommendation(connection, wanted)
        if found is None:
            raise NotFound("recommendation", wanted)
        return pb.GetRecommendationResponse(record=record_message(found))

    async def ListRecommendations(
        self, request: pb.ListRecommendationsRequest, context: ServicerContext
    ) -> pb.ListRecommendationsResponse:
        """A page, newest first."""
        wanted = parse_list(request)
        size = wanted.page_size
        async with self._kit.autocommit.connect() as connection:
            found = await store.list_recommendations(
                connection, wanted.product_id, wanted.state, wanted.before, size + 1
            )
        token = ""
        if len(found) > size:
            found = found[:size]
            token = page_token(request, found[-1].created_at, found[-1].recommendation.recommendation_id)
        return pb.ListRecommendationsResponse(records=[record_message(one) for one in found], next_page_token=token)

    async def WatchRecommendations(
        self, request: pb.WatchRecommendationsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchRecommendationsResponse]:
        """Changes after a sequence, then new ones, with the bridge's watermark."""
        after = position(request, await self._head())
        watch = RecommendationWatch(self._kit.autocommit, after)
        watched = Watched(
            streams.RECOMMENDATIONS, watch.rows_after, _frame, watch.watermark, spacing_seconds=ROW_SPACING_SECONDS
        )
        async for frame in frames(self._kit, after, watched, pb.WatchRecommendationsResponse):
            yield frame

    async def _head(self) -> int:
        async with self._kit.autocommit.connect() as connection:
            return await store.head_sequence(connection)


def _frame(changed: Sequence[StoredRecommendation]) -> pb.WatchRecommendationsResponse:
    return pb.WatchRecommendationsResponse(
        batch=pb.RecommendationBatch(records=[record_message(one) for one in changed])
    )


def build(settings: BridgeSettings, kit: Kit[BridgeSettings]) -> ServiceSpec:
    """The bridge as meshkit runs it."""
    signals = SignalConsumer(settings, kit)
    schema = schema_check(kit)
    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_BridgeServiceServicer_to_server, BridgeServicer(settings, kit), services.BRIDGE.full_name
            )
        ],
        background=after(schema, [signals.consumer.task()], kit),
        ready=[Check("database", kit.check_database), schema],
        entries=[Check("signals", signals.consumer.check)],
    )
