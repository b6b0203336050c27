"""Consumes the signal stream from the stored cursor and writes each signal's outcome.

A frame is one transaction: outcomes, recommendations and the cursor move together, so a crash at any moment repeats the
frame from the start and nothing is turned into a recommendation twice.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.consumer import Consumer
from meshkit.errors import Unavailable
from meshkit.kit import Kit
from svc_bridge import store
from svc_bridge.exit_plan import LabelTerms, exit_plan
from svc_bridge.fact_store import ModelLabels, read_facts
from svc_bridge.proposal import NewRecommendation, Outcome, Proposal, ProposalRules, SignalSeen, Skip, propose
from svc_bridge.settings import BridgeSettings
from svc_bridge.wire import signal_of
from tradekit import ids, services, wire
from tradekit.exit_plan import ExitPlan
from tradekit.life import life_end
from tradekit.reasons import Reason
from tradekit.recommendation import Recommendation
from tradekit.states import Origin, Side, SignalSide, Venue
from trading.signal.v1 import signal_service_pb2 as signal_pb
from trading.signal.v1 import signal_service_pb2_grpc as signal_grpc

CONSUMER = "signals"
# More signals of a bar than this are not waited for.
_MOST_HELD = 20_000


class SignalConsumer:
    """The task that turns signals into outcomes; one per process, and safe beside others."""

    def __init__(self, settings: BridgeSettings, kit: Kit[BridgeSettings]) -> None:
        self._settings = settings
        self._kit = kit
        self._labels = ModelLabels()
        # In lock-step a bar's recommendations come at once, however many processes decide its signals: they are worked on in an
        # order of their own, which those that come later would not be part of.
        self._whole_bars = settings.venue is Venue.REPLAY
        self._held: list[SignalSeen] = []
        self._rules = ProposalRules(settings.entry_quote_size, settings.entry_cooldown_bars, settings.stale_signal_bars)
        channel = kit.channel(settings.address(services.SIGNAL), services.SIGNAL.full_name)
        self._stub = signal_grpc.SignalServiceStub(channel)
        self.consumer = Consumer(kit, "signal", self._watch, self._take_frame)

    async def _watch(self) -> Any:
        async with self._kit.autocommit.connect() as connection:
            after = await store.read_cursor(connection, CONSUMER)
        self._held.clear()
        return self._stub.WatchSignals(signal_pb.WatchSignalsRequest(after_sequence=after))

    async def _take_frame(self, frame: signal_pb.WatchSignalsResponse) -> bool:
        kind = frame.WhichOneof("frame")
        if kind == "batch":
            self._held += _signals_of(frame.batch)
            if not self._whole_bars or len(self._held) > _MOST_HELD:
                await self._take_held()
        elif kind == "watermark":
            await self._take_held()
            await self._mark(wire.time_of(frame.watermark.as_of))
        return bool(kind != "draining")

    async def _take_held(self) -> None:
        held, self._held = self._held, []
        if held:
            await self._kit.critical(self.take(held))

    async def _mark(self, as_of: datetime) -> None:
        # One statement: a transaction of its own, as every one of `autocommit` is.
        async with self._kit.autocommit.connect() as connection:
            await store.advance_own_watermark(connection, as_of)

    async def take(self, signals: Sequence[SignalSeen]) -> None:
        """Writes the outcome of every signal that the cursor has not passed."""
        async with self._kit.engine.begin() as connection:
            cursor = await store.lock_cursor(connection, CONSUMER)
            fresh = [signal for signal in signals if signal.sequence > cursor]
            if not fresh:
                return
            outcomes, recommendations = await self._decide(connection, fresh)
            await store.insert_outcomes(connection, outcomes)
            await store.move_cursor(connection, CONSUMER, fresh[-1].sequence)
            await store.insert_recommendations(connection, recommendations)
        self._kit.log.info(
            "signals_taken", signals=len(fresh), recommended=len(recommendations), cursor=fresh[-1].sequence
        )

    async def _decide(
        self, connection: AsyncConnection, signals: Sequence[SignalSeen]
    ) -> tuple[list[Outcome], list[NewRecommendation]]:
        """Outcomes and recommendations, in the order of the signals."""
        products = sorted({signal.product_id for signal in signals})
        facts = await read_facts(connection, products, self._settings.granularity_seconds)
        buys = {signal.evidence.model_version for signal in signals if signal.side is SignalSide.BUY}
        labels = await self._labels.of(connection, buys)
        newest = facts.signals_as_of or max(signal.as_of for signal in signals)
        outcomes: list[Outcome] = []
        recommendations: list[NewRecommendation] = []
        decided: set[tuple[str, str]] = set()
        for signal in signals:
            outcome = propose(signal, facts.products[signal.product_id], newest, self._rules)
            if isinstance(outcome, Proposal) and (signal.product_id, outcome.side) in decided:
                # Two bars of one product in one frame: the first one's recommendation is already open.
                outcome = Skip((Reason("DUPLICATE_OPEN", "1", "1", "count", f"product:{signal.product_id}"),))
            if isinstance(outcome, Proposal):
                decided.add((signal.product_id, outcome.side))
                label = labels.get(signal.evidence.model_version)
                recommendations.append(self._recommendation(signal, outcome, facts.clocks.machine, label))
            outcomes.append(Outcome(signal, outcome))
        return outcomes, recommendations

    def _recommendation(
        self, signal: SignalSeen, proposal: Proposal, now: datetime, label: LabelTerms | None
    ) -> NewRecommendation:
        clock = self._settings.life_clock
        made = Recommendation(
            recommendation_id=ids.recommendation_id_of_signal(signal.signal_id),
            product_id=signal.product_id,
            side=proposal.side,
            size=proposal.size,
            reference_price=signal.reference_price,
            as_of=signal.as_of,
            expire_time=life_end(clock, now, signal.as_of, self._settings.recommendation_ttl_seconds),
            life_clock=clock,
            origin=Origin.SIGNAL,
            profile=signal.profile,
            priority=proposal.priority,
            evidence=signal.evidence,
            exit_plan=self._exit_plan(signal, label) if proposal.side is Side.BUY else None,
        )
        return NewRecommendation(made, self._settings.run_id, signal_id=signal.signal_id)

    def _exit_plan(self, signal: SignalSeen, label: LabelTerms | None) -> ExitPlan | None:
        if label is None:
            return None
        return exit_plan(
            signal.reference_price,
            signal.as_of,
            signal.evidence.sigma_horizon,
            label,
            timedelta(seconds=signal.granularity),
            with_time=self._settings.exit_at_horizon,
        )


def _signals_of(batch: signal_pb.SignalBatch) -> list[SignalSeen]:
    """The batch's signals. One that cannot be understood stops the stream, not the service: operators still sell."""
    try:
        return [signal_of(signal) for signal in batch.signals]
    except (ValueError, ArithmeticError) as error:
        text = f"a signal that cannot be understood: {type(error).__name__}: {error}"
        raise Unavailable("DEPENDENCY_UNAVAILABLE", text) from error
