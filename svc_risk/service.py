"""RiskService: parse, decide, store, answer; and the task that marks the equity while nobody asks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from meshkit.background import after
from meshkit.errors import MeshError, Unavailable
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec, Task
from meshkit.stream import AnswerFrames, answer_items
from meshkit.translate import translate
from schema import streams
from schema.presence import schema_check
from svc_risk import store
from svc_risk.assessor import Assessor
from svc_risk.known import Moment
from svc_risk.rules import limits_of
from svc_risk.settings import RiskSettings
from svc_risk.ticket import load_signer
from svc_risk.trading_controls import TradingControls
from svc_risk.wire import assessment_message, limits_message, parse_assess, parse_open, parse_state, portfolio_message
from tradekit import services, wire
from trading.risk.v1 import risk_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2_grpc as pb_grpc

# An item of a stream has the time that a call of its own would have.
ITEM_SECONDS = 10.0
# A lost notification costs at most this much.
WATCH_SECONDS = 30.0
RETRY_SECONDS = 1.0


def _item_error(frame: pb.StreamAssessmentsRequest, error: MeshError) -> pb.StreamAssessmentsResponse:
    item = frame.item
    message = wire.item_error_message(item.request_id, item.recommendation.recommendation_id, error)
    return pb.StreamAssessmentsResponse(item_error=message)


class RiskServicer(pb_grpc.RiskServiceServicer):
    """The RPCs of the risk engine."""

    def __init__(self, settings: RiskSettings, kit: Kit[RiskSettings], assessor: Assessor) -> None:
        self._settings = settings
        self._kit = kit
        self._assessor = assessor
        self._operator = TradingControls(settings, kit)
        self._frames: AnswerFrames[pb.StreamAssessmentsRequest, pb.StreamAssessmentsResponse] = AnswerFrames(
            is_opening=lambda frame: frame.WhichOneof("frame") == "open",
            key_of=_key,
            opened=lambda credit: pb.StreamAssessmentsResponse(opened=pb.StreamAssessmentsOpened(max_in_flight=credit)),
            heartbeat=lambda: pb.StreamAssessmentsResponse(heartbeat=wire.heartbeat_message(kit.clock.now(), 0)),
            draining=lambda seconds: pb.StreamAssessmentsResponse(draining=wire.draining_message(round(seconds) or 1)),
            item_error=_item_error,
            traceparent_of=lambda frame: frame.traceparent,
            deadline_of=lambda frame: ITEM_SECONDS,
        )

    async def AssessRecommendation(
        self, request: pb.AssessRecommendationRequest, context: ServicerContext
    ) -> pb.AssessRecommendationResponse:
        """Assesses one recommendation."""
        return pb.AssessRecommendationResponse(assessment=await self._assess(request))

    async def StreamAssessments(
        self, request_iterator: AsyncIterator[pb.StreamAssessmentsRequest], context: ServicerContext
    ) -> AsyncIterator[pb.StreamAssessmentsResponse]:
        """Assesses recommendations as they come."""
        first = await anext(request_iterator, None)
        if first is None:
            return
        credit = min(parse_open(first), self._settings.risk_stream_credit)
        answers = answer_items(
            _again(first, request_iterator), self._item, frames=self._frames, kit=self._kit, max_in_flight=credit
        )
        async for frame in answers:
            yield frame

    async def GetPortfolioRisk(
        self, request: pb.GetPortfolioRiskRequest, context: ServicerContext
    ) -> pb.GetPortfolioRiskResponse:
        """The account's risk now."""
        view = await self._operator.account()
        return portfolio_message(view.portfolio, view.account.trading_state, view.account.note)

    async def GetLimits(self, request: pb.GetLimitsRequest, context: ServicerContext) -> pb.GetLimitsResponse:
        """Every parameter and limit in force."""
        p, granularity = self._settings.parameters, self._settings.granularity_seconds
        return limits_message(p.limits_version, limits_of(p, granularity), p.as_text())

    async def SetTradingState(
        self, request: pb.SetTradingStateRequest, context: ServicerContext
    ) -> pb.SetTradingStateResponse:
        """Turns the operator's switch."""
        call = parse_state(request)
        response = await self._operator.turn_switch(call)
        self._kit.log.warning("trading_state_set", state=call.state.value, note=call.note, locks=call.release_locks)
        return response

    async def _assess(self, request: pb.AssessRecommendationRequest) -> pb.Assessment:
        call = parse_assess(request)
        decided = await self._assessor.assess(call.request_id, call.recommendation, call.terms)
        return assessment_message(decided)

    async def _item(self, frame: pb.StreamAssessmentsRequest) -> pb.StreamAssessmentsResponse:
        assessment = await self._assess(frame.item)
        answer = pb.AssessmentAnswer(request_id=frame.item.request_id, assessment=assessment)
        return pb.StreamAssessmentsResponse(answer=answer)


def _key(frame: pb.StreamAssessmentsRequest) -> str:
    """An item without an id is an item too: it is answered with what is wrong with it."""
    return (frame.item.request_id or "missing") if frame.WhichOneof("frame") == "item" else ""


async def _again(
    first: pb.StreamAssessmentsRequest, rest: AsyncIterator[pb.StreamAssessmentsRequest]
) -> AsyncIterator[pb.StreamAssessmentsRequest]:
    yield first
    async for frame in rest:
        yield frame


class EquityWatch:
    """Marks the equity at every new market watermark."""

    def __init__(self, kit: Kit[RiskSettings], assessor: Assessor) -> None:
        self._kit = kit
        self._assessor = assessor

    async def run(self) -> None:
        """Runs for ever; an outage of the database is waited out."""
        async with self._kit.notifications.subscribe(streams.WATERMARKS, only=(services.MARKET.name,)) as wakeup:
            marked: datetime | None = None
            while True:
                woken = await wakeup.wait(WATCH_SECONDS)
                try:
                    # Where nothing was told, a look without the account's lock shows whether a word was lost.
                    if woken or await self._market_time() != marked:
                        marked = await self._assessor.mark_equity()
                except Exception as error:
                    found: MeshError = translate(error, self._kit.log, task="equity")
                    self._kit.log.warning("equity_not_marked", reason=found.reason)
                    marked = None
                    await asyncio.sleep(RETRY_SECONDS)

    async def _market_time(self) -> datetime | None:
        async with self._kit.autocommit.connect() as connection:
            mark = await streams.read_watermark(connection, services.MARKET.name)
        return mark.as_of if mark else None


class SharedLook:
    """One look at the account for the health checks that come together."""

    def __init__(self, kit: Kit[RiskSettings]) -> None:
        self._kit = kit
        self._look: asyncio.Future[Moment] | None = None

    async def moment(self) -> Moment:
        """The moment at which the account was read. A look that takes long is waited for, and not joined by another."""
        if self._look is None or self._look.done():
            self._look = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._look)

    async def _read(self) -> Moment:
        async with self._kit.autocommit.connect() as connection:
            _, moment = await store.read_account(connection)
        return moment


def build(settings: RiskSettings, kit: Kit[RiskSettings]) -> ServiceSpec:
    """The risk engine as meshkit runs it. Misconfigured without a usable signing key."""
    assessor = Assessor(settings, kit, load_signer(settings.ticket_signing_key_file))

    look = SharedLook(kit)

    async def database_answers() -> None:
        await look.moment()
        await kit.check_database()

    async def market_is_known() -> None:
        if (await look.moment()).market_time is None:
            raise Unavailable("STALE_DATA", "no candle has arrived yet")

    schema = schema_check(kit)
    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_RiskServiceServicer_to_server,
                RiskServicer(settings, kit, assessor),
                services.RISK.full_name,
            )
        ],
        background=after(schema, [Task("mark-equity", EquityWatch(kit, assessor).run)], kit),
        ready=[Check("database", database_answers), schema],
        entries=[Check("market", market_is_known)],
    )
