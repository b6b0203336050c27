"""Follows the market and decides every bar once: candles in, signals and watermark out, in one transaction per bar.

Live, replay and GenerateSignals end here; what differs is only who says that a bar is complete.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import database
from meshkit.consumer import Consumer
from meshkit.errors import MeshError
from meshkit.kit import Kit
from modelkit.decision import SignalReason
from modelkit.features.definition import feature_set_hash
from modelkit.loading import LoadedModel
from modelkit.serving import FeatureRows
from schema import streams
from svc_signal.bars import all_shares
from svc_signal.bars import store as bar_store
from svc_signal.bars import writer as bar_writer
from svc_signal.bars.all_shares import SharesWatch
from svc_signal.bars.bar import BarDecisions, BarTerms, decide_bar
from svc_signal.bars.feature_keeper import FeatureKeeper
from svc_signal.bars.rows import BarHead, signal_ids
from svc_signal.bars.stopwatch import Stopwatch
from svc_signal.bars.store import BarRead, BarStore
from svc_signal.bars.writer import DecidedBar, Overtaken
from svc_signal.drift.monitor import CHECK_BARS, DriftMonitor
from svc_signal.fees import FeeMemory
from svc_signal.models.keeper import ModelKeeper
from svc_signal.settings import SignalSettings
from svc_signal.signal_watch import SignalTap
from tradekit import bars, services, wire
from tradekit.states import Profile
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc

SLIPPAGE_PER_SIDE = 0.0005
NO_MODEL_VERSION = "none"
# More rows than this keep the event loop waiting longer than a thread costs.
_ROWS_INLINE = 32


@dataclass(frozen=True, slots=True)
class _Decided:
    """A bar that this process decided, for its log line."""

    model: LoadedModel | None
    found: BarDecisions
    watch: Stopwatch


class Decider:
    """The task that decides bars, and the same decision on demand."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings], keeper: ModelKeeper, tap: SignalTap) -> None:
        self._settings = settings
        self._kit = kit
        self._keeper = keeper
        self._tap = tap
        self._granularity = settings.granularity_seconds
        self._step = timedelta(seconds=settings.granularity_seconds)
        self._shard = settings.shard
        self._bars = BarStore(self._shard)
        self._products = frozenset(self._shard.of(settings.products))
        self._feature_set_hash = feature_set_hash(settings.granularity_seconds)
        self.fees = FeeMemory(settings, kit)
        self._turn = asyncio.Lock()
        self._features = FeatureKeeper(settings, kit, self._bars)
        # Statements commit themselves but in `bar_store.transaction`: a small bar would wait for every BEGIN and COMMIT.
        self._engine = database.autocommit(database.create_engine(settings))
        self._connection: AsyncConnection | None = None
        self._prepared = False
        self._decided_to: datetime | None = None
        self._named: tuple[BarHead, Mapping[str, UUID]] | None = None
        self.drift_monitor = DriftMonitor(settings, kit)
        channel = kit.channel(settings.address(services.MARKET), services.MARKET.full_name)
        self._market = market_grpc.MarketServiceStub(channel)
        self.consumer = Consumer(kit, "market", self._watch, self._take)
        self.shares = SharesWatch(kit, self._shard, lambda: self._decided_to)

    async def run(self) -> None:
        """Consumes the market's stream for ever; at its end the state of the features is saved."""
        try:
            await self.consumer.run()
        finally:
            await self._kit.critical(self._close())

    async def _watch(self) -> Any:
        """Watermarks only: the candles of a bar are read from the table, with those that came late and the own watermark."""
        return self._market.WatchCandles(market_pb.WatchCandlesRequest(watermarks_only=True))

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
            async with self._kit.autocommit.connect() as connection:
                await self._bars.join(connection)
                watermark = await streams.read_watermark(connection, self._shard.stage)
            self._decided_to = watermark.as_of if watermark else None
        return self._decided_to + self._step if self._decided_to else as_of

    async def decide(self, as_of: datetime) -> None:
        """Sees to it that the signals of the bar that closes at `as_of` are stored."""
        bar = bars.unix(as_of) // self._granularity - 1
        async with self._turn:
            decided = await self._decide_once(as_of, bar)
            self._decided_to = max(as_of, self._decided_to or as_of)
            if decided is not None:
                self._log(as_of, decided)
                self._ids(self._head(as_of + self._step, decided.model))
            if bar % CHECK_BARS == 0:
                # Apart from the bar: whoever waits for its signals need not wait for this. The next bar does.
                await self._kit.critical(self._check_drift(as_of, decided.model if decided else None))
                await self._save()

    async def _decide_once(self, as_of: datetime, bar: int) -> _Decided | None:
        """The bar decided and stored; None if that had been done."""
        while True:
            try:
                async with self._connected() as connection:
                    return await self._decide(connection, as_of, bar)
            except Overtaken:
                self._features.forget_from(bar)
            except BaseException:
                self._features.forget_from(bar)
                raise

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """The connection kept for this: to borrow and prove one would cost a small bar half of its time."""
        if self._connection is None:
            self._connection = await self._engine.connect()
        try:
            if not self._prepared:
                await bar_store.prepare(self._connection)
                self._prepared = True
            yield self._connection
        except Overtaken:
            raise
        except BaseException:
            connection, self._connection, self._prepared = self._connection, None, False
            await connection.invalidate()
            await connection.close()
            raise

    async def _decide(self, connection: AsyncConnection, as_of: datetime, bar: int) -> _Decided | None:
        """Decides and stores the bar, unless that has been done."""
        watch = Stopwatch()
        read = await self._features.read(connection, bar)
        if read.watermark is not None and as_of <= read.watermark:
            # Decided before or by another process; a candle that came late does not decide a bar anew.
            return None
        if read.decided and read.decided >= self._products:
            await self._bars.finish_bar(connection, read.watermark, as_of, 0)
            return None
        watch.lap("read")
        # One model for the whole bar: the keeper may take another meanwhile.
        model, challenger = self._keeper.model, self._keeper.challenger
        rows = await self._features.rows(connection, bar, read)
        watch.lap("features")
        terms = await self._terms(connection, as_of, read, model, challenger)
        found = await self._decisions(rows, terms)
        watch.lap("decide")
        try:
            await self._store(connection, as_of, found, read, terms)
        except Overtaken:
            watermark = await streams.read_watermark(connection, self._shard.stage)
            if watermark is not None and as_of <= watermark.as_of:
                # The features stay: they are of stored candles, whoever decided by them.
                return None
            raise
        watch.lap("store")
        # Who waits for the signals goes first.
        await asyncio.sleep(0)
        return _Decided(model, found, watch)

    async def _terms(
        self,
        connection: AsyncConnection,
        as_of: datetime,
        read: BarRead,
        model: LoadedModel | None,
        challenger: LoadedModel | None,
    ) -> BarTerms:
        blocker = None
        if model is None:
            refused = self._keeper.refusal is not None and self._keeper.refusal.code != "NO_MODEL"
            blocker = SignalReason.MODEL_REFUSED if refused else SignalReason.NO_MODEL
        elif (
            await self._suspended(connection, as_of, read, model)
            and self._settings.decision_profile is Profile.EVIDENCE
        ):
            blocker = SignalReason.MODEL_SUSPENDED
        cost = 2.0 * (self.fees.taker + SLIPPAGE_PER_SIDE)
        # Where the products were shared out otherwise before, some may have been decided and others not.
        return BarTerms(
            self._products - read.decided, model, challenger, blocker, cost, self._settings.decision_profile
        )

    async def _suspended(self, connection: AsyncConnection, as_of: datetime, read: BarRead, model: LoadedModel) -> bool:
        """Whether the check before the bar says that the model has to hold. The check is in memory nearly always."""
        version, due = model.manifest.model_version, self.drift_monitor.missing(as_of, model)
        if due is not None and not self._shard.alone and read.watermark is not None and due <= read.watermark:
            # A check is of the signals of all products.
            await all_shares.until_decided(connection, due)
        if due is not None and await bar_store.check_is_owed(
            connection, self._settings.run_id, self._granularity, due, version
        ):
            await self._run_check(connection, due, model)
        return await self.drift_monitor.holds(connection, as_of, model)

    async def _decisions(self, rows: FeatureRows, terms: BarTerms) -> BarDecisions:
        if len(rows.products) <= _ROWS_INLINE:
            return decide_bar(rows, terms)
        return await asyncio.to_thread(decide_bar, rows, terms)

    async def _store(
        self, connection: AsyncConnection, as_of: datetime, found: BarDecisions, read: BarRead, terms: BarTerms
    ) -> None:
        challenger = terms.challenger.manifest.model_version if terms.challenger else ""
        head = self._head(as_of, terms.model)
        bar = DecidedBar(head, self._ids(head), found, read, challenger, self._shard.alone and self._tap.wanted)
        with self._tap.writing():
            published = await bar_writer.write(connection, self._bars, bar)
            if published is not None:
                self._tap.publish(published)

    def _head(self, as_of: datetime, model: LoadedModel | None) -> BarHead:
        return BarHead(
            run_id=self._settings.run_id,
            granularity=self._granularity,
            bar_start=as_of - self._step,
            as_of=as_of,
            model_version=model.manifest.model_version if model else NO_MODEL_VERSION,
            feature_set_hash=self._feature_set_hash,
            profile=self._settings.decision_profile,
        )

    def _ids(self, head: BarHead) -> Mapping[str, UUID]:
        """The ids of a bar's signals, which are nearly always there: they were made after the bar before it."""
        if self._named is None or self._named[0] != head:
            self._named = (head, signal_ids(head, self._products))
        return self._named[1]

    # ---- between bars ------------------------------------------------------------------------------------------------

    async def _check_drift(self, as_of: datetime, model: LoadedModel | None) -> None:
        """The drift check of the model that decided the bar; one that fails is taken before the next bar.

        On a connection of its own, as it goes on to its end when the task that waits for it is cancelled.
        """
        if model is None:
            return
        try:
            async with self._engine.connect() as connection:
                if self._shard.alone or await all_shares.have_decided(connection, as_of):
                    await self._run_check(connection, as_of, model)
        except MeshError as error:
            self._kit.log.warning("drift_check_deferred", reason=str(error))

    async def _run_check(self, connection: AsyncConnection, as_of: datetime, model: LoadedModel) -> None:
        try:
            async with bar_store.transaction(connection):
                await self.drift_monitor.settle(connection, as_of, model)
        except BaseException:
            self.drift_monitor.forget()
            raise

    def _log(self, as_of: datetime, decided: _Decided) -> None:
        found, watch = decided.found, decided.watch
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
            async with self._connected() as connection:
                watermark = await streams.read_watermark(connection, self._shard.stage)
                if watermark is not None:
                    await self._features.save(connection, bars.unix(watermark.as_of) // self._granularity - 1)
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
