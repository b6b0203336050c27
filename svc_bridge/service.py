"""BridgeService: parse, decide, store, answer."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable, Violation
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec
from schema import streams
from schema.clocks import read_clocks
from schema.recommendation_rows import StoredRecommendation, record_message
from schema.requests import once, request_key
from svc_bridge import store
from svc_bridge.proposal import NewRecommendation, sellable
from svc_bridge.settings import BridgeSettings
from svc_bridge.signal_consumer import SignalConsumer
from svc_bridge.wire import OperatorRecommendation, page_token, parse_create, parse_get, parse_list
from tradekit import ids, services
from tradekit.life import life_end
from tradekit.recommendation import Recommendation
from tradekit.sizes import NO_PRICE_KNOWN, base_size
from tradekit.states import Origin, Side
from tradekit.units import OrderSize
from tradekit.watching import Watched, frames, position
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.bridge.v1 import bridge_service_pb2_grpc as pb_grpc

# An operator's recommendation goes before every signal's: a person is waiting for it.
OPERATOR_PRIORITY = 1.0


class BridgeServicer(pb_grpc.BridgeServiceServicer):
    """The RPCs of the bridge."""

    def __init__(self, settings: BridgeSettings, kit: Kit[BridgeSettings]) -> None:
        self._settings = settings
        self._kit = kit

    async def CreateRecommendation(
        self, request: pb.CreateRecommendationRequest, context: ServicerContext
    ) -> pb.CreateRecommendationResponse:
        """Enters an operator's recommendation; the same request_id gives the stored answer."""
        recommendation = parse_create(request)
        key = request_key(self._settings.service_name, "CreateRecommendation", recommendation.request_id, request)
        async with self._kit.engine.begin() as connection:

            async def create() -> pb.CreateRecommendationResponse:
                records = await store.insert_recommendations(
                    connection, [await self._recommendation(connection, recommendation)]
                )
                return pb.CreateRecommendationResponse(record=record_message(records[0]))

            answer, _ = await once(connection, key, pb.CreateRecommendationResponse, create)
        return answer

    async def _recommendation(
        self, connection: AsyncConnection, recommendation: OperatorRecommendation
    ) -> NewRecommendation:
        """An operator's recommendation as it is stored. A SELL needs the ledger only; a BUY needs a price and a market time."""
        if not await store.is_known_product(connection, recommendation.product_id):
            raise InvalidRequest(
                [
                    Violation(
                        "product_id",
                        "UNKNOWN_PRODUCT",
                        f"{recommendation.product_id} is not followed; see ListProducts",
                    )
                ]
            )
        price = await store.newest_price(connection, recommendation.product_id, self._settings.granularity_seconds)
        if price is None and recommendation.side is Side.SELL:
            price = await store.average_cost(connection, recommendation.product_id)
        clocks = await read_clocks(connection)
        now, market = clocks.machine, clocks.market
        if recommendation.side is Side.BUY and (price is None or market is None):
            raise Unavailable("STALE_DATA", f"there is no candle of {recommendation.product_id} yet; try again later")
        as_of = market or now
        clock = self._settings.life_clock
        made = Recommendation(
            recommendation_id=ids.recommendation_id_of_request(recommendation.request_id),
            product_id=recommendation.product_id,
            side=recommendation.side,
            size=await self._size(connection, recommendation),
            reference_price=price or NO_PRICE_KNOWN,
            as_of=as_of,
            expire_time=life_end(clock, now, as_of, self._settings.recommendation_ttl_seconds),
            life_clock=clock,
            origin=Origin.OPERATOR,
            profile=self._settings.decision_profile,
            priority=OPERATOR_PRIORITY,
            note=recommendation.note,
        )
        return NewRecommendation(made, self._settings.run_id, request_id=recommendation.request_id)

    async def _size(self, connection: AsyncConnection, recommendation: OperatorRecommendation) -> OrderSize:
        if recommendation.side is Side.BUY:
            return recommendation.size or self._settings.entry_quote_size
        state = (await store.product_states(connection, [recommendation.product_id]))[recommendation.product_id]
        held = sellable(state.held, state.base_increment)
        if held <= 0:
            raise FailedPrecondition(
                "NOT_HELD", f"nothing of {recommendation.product_id} is held; there is nothing to sell"
            )
        return min(base_size(recommendation.side, recommendation.size), held) if recommendation.size else held

    async def GetRecommendation(
        self, request: pb.GetRecommendationRequest, context: ServicerContext
    ) -> pb.GetRecommendationResponse:
        """One recommendation."""
        wanted = parse_get(request)
        async with self._kit.reads.connect() as connection:
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
        async with self._kit.reads.connect() as connection:
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
        watched = Watched(streams.RECOMMENDATIONS, self._changed, _frame, self._watermark)
        async for frame in frames(self._kit, after, watched, pb.WatchRecommendationsResponse):
            yield frame

    async def _changed(self, after: int, limit: int) -> list[StoredRecommendation]:
        async with self._kit.reads.connect() as connection:
            return await store.changed_after(connection, after, limit)

    async def _head(self) -> int:
        async with self._kit.reads.connect() as connection:
            return await store.head_sequence(connection)

    async def _watermark(self) -> streams.Watermark | None:
        async with self._kit.reads.connect() as connection:
            return await streams.read_watermark(connection, "bridge")


def _frame(changed: Sequence[StoredRecommendation]) -> pb.WatchRecommendationsResponse:
    return pb.WatchRecommendationsResponse(
        batch=pb.RecommendationBatch(records=[record_message(one) for one in changed])
    )


def build(settings: BridgeSettings, kit: Kit[BridgeSettings]) -> ServiceSpec:
    """The bridge as meshkit runs it."""
    signals = SignalConsumer(settings, kit)
    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_BridgeServiceServicer_to_server, BridgeServicer(settings, kit), services.BRIDGE.full_name
            )
        ],
        background=[signals.consumer.task()],
        ready=[Check("database", kit.check_database)],
        entries=[Check("signals", signals.consumer.check)],
    )
