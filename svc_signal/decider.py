"""Follows the market and decides every bar once: candles in, signals and watermark out, in one transaction per bar.

Live, replay and GenerateSignals end here; what differs is only who says that a bar is complete.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import database
from meshkit.errors import MeshError
from meshkit.follow import Follower
from meshkit.kit import Kit
from schema import streams
from svc_signal import bar_store, store
from svc_signal.aftermath import Aftermath
from svc_signal.bar import BarDecisions, BarTerms, decide_bar
from svc_signal.bar_rows import (
    SHADOW_COLUMNS,
    SIGNAL_COLUMNS,
    BarHead,
    shadow_rows,
    signal_columns,
    signal_ids,
    signal_rows,
    watched_rows,
)
from svc_signal.bar_store import BarRead
from svc_signal.decision import SignalReason
from svc_signal.feature_keeper import FeatureKeeper
from svc_signal.loading import LoadedModel
from svc_signal.modelkeeper import ModelKeeper
from svc_signal.serving import FeatureRows
from svc_signal.settings import SignalSettings
from svc_signal.signal_watch import PublishedBar, SignalTap
from svc_signal.stopwatch import Stopwatch
from svc_signal.wire_signals import signals_frame
from tradekit import bars, services, wire
from tradekit.states import Profile
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc

SLIPPAGE_PER_SIDE = 0.0005
NO_MODEL_VERSION = "none"
# Every so many bars the aftermath is settled and the state of the features is saved.
BARS_BETWEEN_LOOKS = 24
# More rows than this keep the event loop waiting longer than a thread costs.
_ROWS_INLINE = 32
# Up to so many rows a round trip costs more than handing their values over one by one.
_ROWS_IN_ONE_STATEMENT = 32


class Decider:
    """The task that decides bars, and the same decision on demand."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings], keeper: ModelKeeper, tap: SignalTap) -> None:
        self._settings = settings
        self._kit = kit
        self._keeper = keeper
        self._tap = tap
        self._granularity = settings.granularity_seconds
        self._step = timedelta(seconds=settings.granularity_seconds)
        self._products = frozenset(settings.products)
        self._cost = 2.0 * (float(settings.taker_fee) + SLIPPAGE_PER_SIDE)
        self._turn = asyncio.Lock()
        self._features = FeatureKeeper(settings, kit)
        self._engine = database.create_engine(settings)
        self._connection: AsyncConnection | None = None
        self._decided_to: datetime | None = None
        self._looked_at: str | None = None
        self.aftermath = Aftermath(settings, kit)
        channel = kit.channel(settings.market_address, services.MARKET.full_name)
        self._market = market_grpc.MarketServiceStub(channel)
        self._follower = Follower(kit, "market", self._watch, self._take)

    @property
    def following(self) -> bool:
        """True while the market's stream is open."""
        return self._follower.following

    async def run(self) -> None:
        """Follows the market for ever; at its end the state of the features is saved."""
        try:
            await self._follower.run()
        finally:
            await self._kit.critical(self._close())

    async def _watch(self) -> Any:
        return self._market.WatchCandles(market_pb.WatchCandlesRequest())

    async def _take(self, frame: market_pb.WatchCandlesResponse) -> bool:
        kind = frame.WhichOneof("frame")
        if kind == "watermark":
            await self.catch_up(wire.time_of(frame.watermark.as_of))
        return bool(kind != "draining")

    async def catch_up(self, as_of: datetime) -> None:
        """Decides every bar after the own watermark up to `as_of`; at the very first start only the newest."""
        following = await self._following(as_of)
        oldest = as_of - self._step * (self._settings.catch_up_bars - 1)
        if following < oldest:
            self._kit.log.warning("bars_left_out", from_time=str(following), until=str(oldest))
            following = oldest
        while following <= as_of:
            await self.decide(following)
            following += self._step

    async def _following(self, as_of: datetime) -> datetime:
        """as_of of the first bar after the watermark. What this process decided last need not be read again."""
        if self._decided_to is None or as_of > self._decided_to + self._step:
            async with self._kit.engine.connect() as connection:
                mark = await streams.read_watermark(connection, store.STAGE)
            self._decided_to = mark.as_of if mark else None
        return self._decided_to + self._step if self._decided_to else as_of

    async def decide(self, as_of: datetime) -> None:
        """Sees to it that the signals of the bar that closes at `as_of` are stored."""
        bar = bars.unix(as_of) // self._granularity - 1
        async with self._turn:
            try:
                async with self._transaction() as connection:
                    published = await self._decide(connection, as_of, bar)
            except BaseException:
                self._features.forget_from(bar)
                raise
            if published is not None:
                self._tap.publish(published)
            self._decided_to = max(as_of, self._decided_to or as_of)
            if bar % BARS_BETWEEN_LOOKS == 0:
                # Apart from the bar: whoever waits for its signals need not wait for this.
                await self._save()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """One on a connection kept for this: to borrow and prove one would cost a small bar half of its time."""
        if self._connection is None:
            self._connection = await self._engine.connect()
        try:
            async with self._connection.begin():
                yield self._connection
        except BaseException:
            connection, self._connection = self._connection, None
            await connection.invalidate()
            await connection.close()
            raise

    async def _decide(self, connection: AsyncConnection, as_of: datetime, bar: int) -> PublishedBar | None:
        """Decides and stores the bar, unless that has been done; what watchers get, if there are any."""
        watch = Stopwatch()
        await bar_store.lock_decisions(connection)
        read = await self._features.read(connection, bar)
        if read.mark is not None and as_of <= read.mark:
            # Decided while this call waited; a candle that came late does not decide a bar anew.
            return None
        if read.decided:
            await bar_store.finish_bar(connection, as_of, 0)
            return None
        watch.lap("read")
        # One model for the whole bar: the keeper may take another meanwhile.
        model, challenger = self._keeper.model, self._keeper.challenger
        rows = await self._features.rows(connection, bar, read)
        watch.lap("features")
        terms = await self._terms(connection, model, challenger)
        found = await self._decisions(rows, terms)
        watch.lap("decide")
        published = await self._store(connection, as_of, found, read, terms)
        if model is not None and bar % BARS_BETWEEN_LOOKS == 0:
            await self.aftermath.settle(connection, as_of, model)
        watch.lap("store")
        self._log(as_of, found, watch)
        return published

    async def _terms(
        self, connection: AsyncConnection, model: LoadedModel | None, challenger: LoadedModel | None
    ) -> BarTerms:
        blocker = None
        if model is None:
            refused = self._keeper.refusal is not None and self._keeper.refusal.code != "NO_MODEL"
            blocker = SignalReason.MODEL_REFUSED if refused else SignalReason.NO_MODEL
        elif await self._suspended(connection, model) and self._settings.decision_profile is Profile.EVIDENCE:
            blocker = SignalReason.MODEL_SUSPENDED
        return BarTerms(self._products, model, challenger, blocker, self._cost, self._settings.decision_profile)

    async def _suspended(self, connection: AsyncConnection, model: LoadedModel) -> bool:
        """Whether the newest look at this model says that it has to hold; read when another model begins to serve."""
        if self._looked_at != model.manifest.model_version:
            await self.aftermath.restore(connection, model)
            self._looked_at = model.manifest.model_version
        return self.aftermath.suspended

    async def _decisions(self, rows: FeatureRows, terms: BarTerms) -> BarDecisions:
        if len(rows.products) <= _ROWS_INLINE:
            return decide_bar(rows, terms)
        return await asyncio.to_thread(decide_bar, rows, terms)

    async def _store(
        self, connection: AsyncConnection, as_of: datetime, found: BarDecisions, read: BarRead, terms: BarTerms
    ) -> PublishedBar | None:
        version = terms.model.manifest.model_version if terms.model else NO_MODEL_VERSION
        start = as_of - self._step
        head = BarHead(self._settings.run_id, self._granularity, start, as_of, version, terms.profile)
        if found.shadow is not None and terms.challenger is not None:
            content = shadow_rows(head, found, terms.challenger.manifest.model_version)
            await bar_store.copy_in(connection, "shadow_signals", SHADOW_COLUMNS, content)
        if not found.products:
            await bar_store.finish_bar(connection, as_of, 0)
            return None
        names = signal_ids(head, found)
        if len(names) <= _ROWS_IN_ONE_STATEMENT:
            first = await bar_store.finish_bar_with(connection, signal_columns(head, found, names, read.closes))
        else:
            first = await bar_store.finish_bar(connection, as_of, len(names))
            content = signal_rows(head, found, names, read.closes, first)
            await bar_store.copy_in(connection, "trading_signals", SIGNAL_COLUMNS, content)
        if not self._tap.wanted:
            return None
        frame = signals_frame(watched_rows(head, found, names, read.closes, first))
        return PublishedBar(first, frame, streams.StageMark(as_of, first + len(names) - 1))

    def _log(self, as_of: datetime, found: BarDecisions, watch: Stopwatch) -> None:
        sides = [side.value for side in found.decisions.side]
        if found.faults:
            self._kit.log.error("model_faulty", as_of=as_of.isoformat(), faults=found.faults)
        self._kit.log.info(
            "bar_decided",
            as_of=as_of.isoformat(),
            signals=len(sides),
            **{side.lower(): sides.count(side) for side in ("BUY", "SELL", "HOLD")},
            **watch.milliseconds(),
        )

    # ---- the state of the features -----------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Saves the state if it is in step with the watermark; one that cannot be saved costs time, not signals."""
        try:
            async with self._transaction() as connection:
                mark = await streams.read_watermark(connection, store.STAGE)
                if mark is not None:
                    await self._features.save(connection, bars.unix(mark.as_of) // self._granularity - 1)
        except MeshError as error:
            self._kit.log.warning("features_not_saved", reason=str(error))

    async def _close(self) -> None:
        """Saves the state, then lets go of the connection."""
        async with self._turn:
            await self._save()
            if self._connection is not None:
                await self._connection.close()
                self._connection = None
            await self._engine.dispose()
