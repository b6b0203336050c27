"""Follows the market and decides every bar once: candles in, signals and watermark out, in one transaction per bar.

Live, replay and GenerateSignals end here; what differs is only who says that a bar is complete.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import grpc
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.backoff import Backoff
from meshkit.errors import MeshError, from_rpc_error
from meshkit.kit import Kit
from schema import streams
from svc_signal import store
from svc_signal.bar import BarDecisions, BarTerms, decide_bar
from svc_signal.candle_window import CandleWindow
from svc_signal.decision import SignalReason
from svc_signal.features.definition import feature_set_hash
from svc_signal.loading import LoadedModel
from svc_signal.modelkeeper import ModelKeeper
from svc_signal.serving import first_needed_bar, latest_rows
from svc_signal.settings import SignalSettings
from tradekit import bars, ids, services, wire
from tradekit.reasons import Reason, reasons_to_json
from trading.market.v1 import market_service_pb2 as market_pb
from trading.market.v1 import market_service_pb2_grpc as market_grpc

SILENCE_SECONDS = 15.0
SLIPPAGE_PER_SIDE = 0.0005
# More new candles than this since the last bar (an import) and the window is read anew.
MOST_NEW_CANDLES = 5_000
NO_MODEL_VERSION = "none"


class Decider:
    """The task that decides bars, and the same decision on demand."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings], keeper: ModelKeeper) -> None:
        self._settings = settings
        self._kit = kit
        self._keeper = keeper
        self._granularity = settings.granularity_seconds
        products = dict.fromkeys((*settings.products, settings.factor_product))
        self._read_products = tuple(products)
        self._window = CandleWindow(self._read_products)
        self._turn = asyncio.Lock()
        self._cost = 2.0 * (float(settings.taker_fee) + SLIPPAGE_PER_SIDE)
        channel = kit.channel(settings.market_address, services.MARKET.full_name)
        self._market = market_grpc.MarketServiceStub(channel)
        self.following = False

    async def run(self) -> None:
        """Follows the market for ever; breaks are met with backoff."""
        backoff = Backoff(0.1, 5.0, random.Random())
        while True:
            try:
                await self._follow(backoff)
                reason = "ended by the market service"
            except grpc.aio.AioRpcError as error:
                reason = str(from_rpc_error(error))
            except (TimeoutError, MeshError, asyncio.InvalidStateError) as error:
                reason = f"{type(error).__name__}: {error}"
            finally:
                self.following = False
            delay = backoff.next_seconds()
            self._kit.log.info("market_lost", reason=reason, retry_in_seconds=round(delay, 2))
            await asyncio.sleep(delay)

    async def _follow(self, backoff: Backoff) -> None:
        call = self._market.WatchCandles(market_pb.WatchCandlesRequest())
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    frame = await call.read()
                if frame is grpc.aio.EOF:
                    return
                self.following = True
                kind = frame.WhichOneof("frame")
                if kind == "watermark":
                    await self.catch_up(wire.time_of(frame.watermark.as_of))
                elif kind == "draining":
                    return
                # Only a bar written down is progress; during an outage the stream must not be opened again at once.
                backoff.reset()
        finally:
            call.cancel()

    async def catch_up(self, as_of: datetime) -> None:
        """Decides every bar after the own watermark up to `as_of`; at the very first start only the newest."""
        step = timedelta(seconds=self._granularity)
        async with self._kit.engine.connect() as connection:
            mark = await streams.read_watermark(connection, store.STAGE)
        following = mark.as_of + step if mark else as_of
        oldest = as_of - step * (self._settings.catch_up_bars - 1)
        if following < oldest:
            self._kit.log.warning("bars_left_out", from_time=str(following), until=str(oldest))
            following = oldest
        while following <= as_of:
            await self.decide(following)
            following += step

    async def decide(self, as_of: datetime) -> list[RowMapping]:
        """Signals of the bar that closes at `as_of`: the stored ones, or decided and stored now."""
        start = as_of - timedelta(seconds=self._granularity)
        async with self._turn, self._kit.engine.begin() as connection:
            await store.lock_decisions(connection)
            run, granularity = self._settings.run_id, self._granularity
            stored = await store.signals_of_bar(connection, run, granularity, start)
            mark = await streams.read_watermark(connection, store.STAGE)
            if mark is not None and as_of <= mark.as_of:
                # Decided while this call waited; a candle that came late does not decide a bar anew.
                return stored
            if not stored:
                # One model for the whole bar: the keeper may take another meanwhile.
                model = self._keeper.model
                decided = await self._decide(connection, start, model)
                prices = await store.closes_at(connection, self._settings.products, granularity, start)
                rows = self._rows(start, as_of, decided, prices, model)
                await store.insert_signals(connection, rows)
                stored = await store.signals_of_bar(connection, run, granularity, start)
                self._log(as_of, stored)
            await store.finish_bar(connection, as_of)
        return stored

    async def _decide(self, connection: AsyncConnection, start: datetime, model: LoadedModel | None) -> BarDecisions:
        bar = bars.unix(start) // self._granularity
        first = first_needed_bar(bar) * self._granularity
        await self._refill(connection, first)
        candles = self._window.arrays(first, bars.unix(start))
        refused = self._keeper.refusal is not None and self._keeper.refusal.code != "NO_MODEL"
        blocker = SignalReason.MODEL_REFUSED if refused else SignalReason.NO_MODEL
        terms = BarTerms(
            frozenset(self._settings.products),
            model,
            None,
            blocker if model is None else None,
            self._cost,
            self._settings.decision_profile,
        )
        return await asyncio.to_thread(
            lambda: decide_bar(latest_rows(candles, bar, self._granularity, self._settings.factor_product), terms)
        )

    async def _refill(self, connection: AsyncConnection, first: int) -> None:
        """Brings the window up to the table: to its newest candle, not to the bar's, because the next bars of a pause
        are stored already and no later sequence would bring them.
        """
        if self._window.covers(first):
            rows = await store.candles_after(
                connection, self._read_products, self._granularity, self._window.sequence, MOST_NEW_CANDLES
            )
            if len(rows) < MOST_NEW_CANDLES:
                self._window.add(rows)
                self._window.forget_before(first)
                return
        sequence = await store.newest_candle_sequence(connection)
        loaded = await store.candles_between(connection, self._read_products, self._granularity, bars.utc(first), None)
        self._window.load(loaded, first, sequence)

    def _rows(
        self, start: datetime, as_of: datetime, found: BarDecisions, prices: dict[str, Any], model: LoadedModel | None
    ) -> list[dict[str, Any]]:
        version = model.manifest.model_version if model else NO_MODEL_VERSION
        said = found.decisions
        known = said.probabilities[:, 0] == said.probabilities[:, 0]
        return [
            {
                "signal_id": ids.signal_id(self._settings.run_id, product, self._granularity, start, version),
                "run_id": self._settings.run_id,
                "product_id": product,
                "granularity": self._granularity,
                "bar_start": start,
                "as_of": as_of,
                "side": said.side[row].value,
                "confidence": float(said.confidence[row]),
                "p_down": float(said.probabilities[row, 0]) if known[row] else 0.0,
                "p_neutral": float(said.probabilities[row, 1]) if known[row] else 1.0,
                "p_up": float(said.probabilities[row, 2]) if known[row] else 0.0,
                "edge": float(said.edge[row]) if known[row] else 0.0,
                "expected_net": float(said.expected_net[row]) if known[row] else 0.0,
                "sigma_horizon": float(found.sigma[row]),
                "reference_price": prices[product],
                "model_version": version,
                "feature_set_hash": feature_set_hash(self._granularity),
                "profile": self._settings.decision_profile.value,
                "reasons": reasons_to_json(Reason(reason.value, scope="model") for reason in said.reasons[row]),
                "features": found.features[row].tolist() if found.ready[row] else [],
            }
            for row, product in enumerate(found.products)
        ]

    def _log(self, as_of: datetime, rows: Sequence[RowMapping]) -> None:
        sides = [row["side"] for row in rows]
        self._kit.log.info(
            "bar_decided",
            as_of=as_of.isoformat(),
            signals=len(rows),
            **{side.lower(): sides.count(side) for side in ("BUY", "SELL", "HOLD")},
        )
