"""SignalService: the bar's decisions on demand, the stored signals, and the model behind them."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import datetime

from meshkit.background import after, outlive_outages
from meshkit.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable, Violation
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec
from modelkit.features.translate import translate
from modelkit.loading import limit_native_threads
from schema import streams
from schema.presence import schema_check
from schema.requests import once, request_key, stored_answer
from svc_signal import store
from svc_signal.bars import all_shares
from svc_signal.bars.decider import Decider
from svc_signal.models.admin import ModelAdmin
from svc_signal.models.keeper import ModelKeeper
from svc_signal.models.wire import parse_promote, parse_rollback
from svc_signal.settings import SignalSettings
from svc_signal.shard import STAGE
from svc_signal.signal_watch import SignalReader, SignalTap
from svc_signal.stored_signal import StoredSignal
from svc_signal.wire import GenerateOrder, page_token, parse_generate, parse_get, parse_list
from svc_signal.wire_signals import signal_message, signal_messages
from tradekit import services
from tradekit.bars import utc
from tradekit.watching import Watched, frames, position
from trading.signal.v1 import signal_service_pb2 as pb
from trading.signal.v1 import signal_service_pb2_grpc as pb_grpc

# A bar of a thousand products is one look at the table and one message.
BATCH = 1000
# New objects of a bar of a thousand products, and room for what else goes on.
_COLLECT_AFTER = 20_000


class SignalServicer(pb_grpc.SignalServiceServicer):
    """The RPCs of the signal service."""

    def __init__(
        self, settings: SignalSettings, kit: Kit[SignalSettings], keeper: ModelKeeper, decider: Decider, tap: SignalTap
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._keeper = keeper
        self._decider = decider
        self._tap = tap
        self._admin = ModelAdmin(settings, kit, keeper, decider.drift_monitor)

    async def GenerateSignals(
        self, request: pb.GenerateSignalsRequest, context: ServicerContext
    ) -> pb.GenerateSignalsResponse:
        """Decides a complete bar now, or gives what was decided; the same request_id gives the stored answer."""
        order = parse_generate(request, self._settings.products, self._settings.granularity_seconds)
        key = request_key(self._settings.service_name, "GenerateSignals", order.request_id, request)
        async with self._kit.autocommit.connect() as connection:
            stored = await stored_answer(connection, key, pb.GenerateSignalsResponse)
        if stored is not None:
            return stored
        # A bar is decided once by its own rows; only the answer is kept here.
        response = await self._generate(order)

        async def decided() -> pb.GenerateSignalsResponse:
            return response

        async with self._kit.engine.begin() as connection:
            answer, _ = await once(connection, key, pb.GenerateSignalsResponse, decided)
        return answer

    async def _generate(self, order: GenerateOrder) -> pb.GenerateSignalsResponse:
        """The bar's signals, decided now if nobody has."""
        if self._keeper.model is None:
            refusal = self._keeper.refusal
            raise FailedPrecondition(
                "MODEL_UNAVAILABLE", f"no model serves: {refusal.detail if refusal else 'loading'}"
            )
        async with self._kit.autocommit.connect() as connection:
            market = await streams.read_watermark(connection, "market")
            own = await streams.read_watermark(connection, STAGE)
        if market is None:
            raise Unavailable("STALE_DATA", "no bar is complete yet; the market service has not reported one")
        as_of = order.as_of or market.as_of
        if as_of > market.as_of:
            raise InvalidRequest(
                [Violation("as_of", "NOT_CLOSED", f"is {as_of}; the newest complete bar closed at {market.as_of}")]
            )
        if own is not None and as_of <= own.as_of:
            rows = await self._stored(as_of)
        else:
            # In order, so that no bar is passed by; the bars before it are decided first.
            await self._decider.catch_up(as_of)
            async with self._kit.autocommit.connect() as connection:
                await all_shares.until_decided(connection, as_of)
            rows = await self._stored(as_of)
        wanted = set(order.product_ids or self._settings.products)
        return pb.GenerateSignalsResponse(signals=signal_messages([row for row in rows if row.product_id in wanted]))

    async def _stored(self, as_of: datetime) -> list[StoredSignal]:
        granularity = self._settings.granularity_seconds
        start = utc(int(as_of.timestamp()) - granularity)
        async with self._kit.autocommit.connect() as connection:
            return await store.signals_of_bar(connection, self._settings.run_id, granularity, start)

    async def GetSignal(self, request: pb.GetSignalRequest, context: ServicerContext) -> pb.GetSignalResponse:
        """One signal with all its features."""
        wanted = parse_get(request)
        async with self._kit.autocommit.connect() as connection:
            row = await store.get_signal(connection, wanted)
        if row is None:
            raise NotFound("signal", wanted)
        return pb.GetSignalResponse(signal=signal_message(row))

    async def ListSignals(self, request: pb.ListSignalsRequest, context: ServicerContext) -> pb.ListSignalsResponse:
        """A page, newest first."""
        wanted = parse_list(request)
        size = wanted.page_size
        async with self._kit.autocommit.connect() as connection:
            rows = await store.list_signals(connection, wanted.product_id, wanted.side, wanted.before, size + 1)
        token = ""
        if len(rows) > size:
            rows = rows[:size]
            token = page_token(request, rows[-1])
        return pb.ListSignalsResponse(signals=signal_messages(rows), next_page_token=token)

    async def WatchSignals(
        self, request: pb.WatchSignalsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchSignalsResponse]:
        """Signals after a sequence, then new ones, with the watermark; BUY and SELL carry their features."""
        after = position(request, await self._head())
        reader = SignalReader(self._kit, self._tap, after)
        watched = Watched(
            streams.SIGNALS, reader.after, lambda _: reader.frame, reader.watermark, int, BATCH, self._tap.waking, 0.0
        )
        async for frame in frames(self._kit, after, watched, pb.WatchSignalsResponse):
            yield frame

    async def GetModel(self, request: pb.GetModelRequest, context: ServicerContext) -> pb.GetModelResponse:
        """The serving model, or why there is none."""
        return self._admin.describe()

    async def ListModels(self, request: pb.ListModelsRequest, context: ServicerContext) -> pb.ListModelsResponse:
        """All models with their parts and the challenger's evidence, and the record of changes."""
        return await self._admin.list()

    async def PromoteModel(self, request: pb.PromoteModelRequest, context: ServicerContext) -> pb.PromoteModelResponse:
        """Makes the challenger the champion, on evidence only; the same request_id gives the stored answer."""
        return await self._admin.promote(parse_promote(request), request)

    async def RollbackModel(
        self, request: pb.RollbackModelRequest, context: ServicerContext
    ) -> pb.RollbackModelResponse:
        """Gives the place back to the champion before; the same request_id gives the stored answer."""
        return await self._admin.roll_back(parse_rollback(request), request)

    async def _head(self) -> int:
        async with self._kit.autocommit.connect() as connection:
            return await store.head_sequence(connection)


def _spare_collector() -> None:
    """What is there when the first bar begins stays to the end: to walk through it again would hold up some bar for a
    tenth of a second. Bars leave no cycles; their thousands of rows need not be searched for any while they are made."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


async def build(settings: SignalSettings, kit: Kit[SignalSettings]) -> ServiceSpec:
    """The signal service as meshkit runs it."""
    limit_native_threads()
    keeper = ModelKeeper(settings, kit)
    tap = SignalTap()
    decider = Decider(settings, kit, keeper, tap)

    async def decide_with_a_model() -> None:
        await asyncio.to_thread(translate)
        # The model first: a bar decided without one would be a HOLD for good.
        await keeper.refresh()
        _spare_collector()
        await decider.run()

    async def model_serves() -> None:
        if keeper.model is None:
            raise FailedPrecondition("MODEL_UNAVAILABLE", keeper.refusal.detail if keeper.refusal else "loading")

    schema = schema_check(kit)
    tasks = [
        outlive_outages("decide-bars", decide_with_a_model, kit),
        outlive_outages("keep-model", keeper.run, kit),
        outlive_outages("read-fees", decider.fees.run, kit),
    ]
    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_SignalServiceServicer_to_server,
                SignalServicer(settings, kit, keeper, decider, tap),
                services.SIGNAL.full_name,
            )
        ],
        background=after(schema, tasks, kit),
        ready=[Check("database", kit.check_database), schema],
        entries=[
            Check("model", model_serves),
            Check("market", decider.consumer.check),
            Check("shares", decider.shares.check),
        ],
    )
