"""Leads one claimed recommendation as far as it can go now: to its end, or back to the rows with a delay.

Every stage answers a repeated id with its stored answer, so leading an item again from the rows is always safe.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from meshkit.errors import MeshError
from meshkit.kit import Kit
from schema.clocks import read_clocks
from svc_orchestrator import claim_store, store
from svc_orchestrator.claim_store import ClaimedRow
from svc_orchestrator.settings import OrchestratorSettings
from svc_orchestrator.stages import ContractViolation, Stages
from svc_orchestrator.steps import (
    Approved,
    OrderSeen,
    Reassess,
    RetryLater,
    Terminal,
    after_error,
    after_order,
    backoff_seconds,
    given_up,
    out_of_retries,
    without_risk,
)
from svc_orchestrator.transitions import (
    Cancelled,
    LeaseLost,
    OrderStands,
    Transition,
    Transitions,
    change_state,
)
from tradekit.life import Life, LifeState, life_at
from tradekit.reasons import Reason
from tradekit.recommendation import Recommendation
from tradekit.states import RECOMMENDATION_TERMINAL, LifeClock, RecommendationState, Side

# An ExecuteRecommendation call of a dead orchestrator may still run this long after the item's life.
EXECUTE_GRACE = timedelta(seconds=30)
MOST_ATTEMPTS = 3


@dataclass(slots=True)
class ClaimedRecommendation:
    """A claimed recommendation while it is processed."""

    recommendation: Recommendation
    state: RecommendationState
    delays: int
    delayed_since: datetime | None = None
    delay_reason: Reason | None = None
    adjusted_size: Decimal | None = None
    cancelled: str | None = None
    order_id: UUID | None = None

    @property
    def id(self) -> UUID:
        """The recommendation's id."""
        return self.recommendation.recommendation_id

    @property
    def is_entry(self) -> bool:
        """True for a BUY."""
        return self.recommendation.side is Side.BUY

    def tells_less_than(self, decided: Approved) -> bool:
        """Whether its row does not say yet that it is executed, or for how much by the newest ticket."""
        is_new = bool(decided.ticket) and decided.size != self.adjusted_size
        return is_new or self.state is not RecommendationState.EXECUTING


def item_of(row: ClaimedRow) -> ClaimedRecommendation:
    """The item of a claimed row; raises what its stored recommendation raises when it is read."""
    return ClaimedRecommendation(
        recommendation=row.recommendation(),
        state=row.state,
        delays=row.delays,
        delayed_since=row.delayed_since,
        delay_reason=row.delay_reason,
        adjusted_size=row.adjusted_size,
        cancelled=row.cancelled,
    )


def beginning(recommendation: Recommendation) -> Transition:
    """The change that takes a proposed recommendation into review."""
    return Transition(
        recommendation.recommendation_id,
        RecommendationState.PROPOSED,
        RecommendationState.IN_REVIEW,
        "orchestrator",
        (),
        recommendation.as_of,
    )


def begins_at_claim(row: ClaimedRow, budget: int | None) -> bool:
    """Whether a claimed row may be taken into review with its claim: nothing stands against it that the row itself shows."""
    if row.state is not RecommendationState.PROPOSED or row.cancelled is not None or row.defect is not None:
        return False
    if row.side is Side.SELL:
        return True
    life = life_at(row.life_clock, row.expire_at, row.now, row.market)
    return budget is None and life.state is LifeState.ALIVE


def log_change(kit: Kit[OrchestratorSettings], recommendation: Recommendation, change: Transition) -> None:
    """Says in the log what changed."""
    kit.log.info(
        "recommendation",
        recommendation_id=str(recommendation.recommendation_id),
        product_id=recommendation.product_id,
        side=recommendation.side.value,
        from_state=change.from_state.value,
        to_state=change.to_state.value,
        decided_by=change.decided_by,
        reasons=[reason.code for reason in change.reasons],
    )


def cancelled(note: str) -> Terminal:
    """The end of an item that an operator cancelled."""
    reason = Reason("CANCELLED_BY_OPERATOR", observed=note, scope="request")
    return Terminal(RecommendationState.REJECTED, "operator", (reason,))


class RecommendationProcessor:
    """Leads items; holds no state of any item."""

    def __init__(
        self, settings: OrchestratorSettings, kit: Kit[OrchestratorSettings], stages: Stages, owner: str
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._stages = stages
        self._owner = owner
        self._transitions = Transitions(kit.dedicated(), owner)

    async def process(self, row: ClaimedRow) -> bool:
        """Leads a claimed row; True if it came to its end. Never raises for what a stage does; LeaseLost ends it quietly."""
        item = item_of(row)
        try:
            try:
                await self._settle(item, await self._outcome(item, row))
            except Cancelled as stop:
                await self._settle(item, cancelled(str(stop)))
        except LeaseLost:
            self._kit.log.info("lease_lost", recommendation_id=str(item.id))
        return item.state in RECOMMENDATION_TERMINAL

    async def _settle(self, item: ClaimedRecommendation, outcome: Terminal | RetryLater | None) -> None:
        """Writes what became of the item; where its order says otherwise, what the order says."""
        try:
            await self._write_outcome(item, outcome)
        except OrderStands as stands:
            self._kit.log.warning("order_stands", recommendation_id=str(item.id), order=str(stands))
            await self._write_outcome(item, self._seen(item, stands.order))

    async def _write_outcome(self, item: ClaimedRecommendation, outcome: Terminal | RetryLater | None) -> None:
        if isinstance(outcome, RetryLater) and item.order_id is None and await self._out_of_retries(item):
            outcome = given_up(outcome.why)
        if isinstance(outcome, Terminal):
            await self._change(item, outcome.state, outcome.decided_by, outcome.reasons)
        elif isinstance(outcome, RetryLater):
            await self._requeue(item, outcome)

    async def after_defect(self, row: ClaimedRow, error: Exception) -> None:
        """What becomes of a row that cannot even be processed: tried again like any other, and given up like any other."""
        item, side = row.recommendation_id, row.side
        why = Reason("INTERNAL", observed=type(error).__name__, scope="service:orchestrator")
        over = side is Side.BUY and (await self._life(row.life_clock, row.expire_at, EXECUTE_GRACE)).is_over
        try:
            async with self._kit.engine.begin() as connection:
                now = (await read_clocks(connection)).machine
                if over or out_of_retries(side, row.delayed_since, now):
                    end = given_up(why)
                    change = Transition(item, row.state, end.state, end.decided_by, end.reasons, row.as_of)
                    await change_state(connection, self._owner, change)
                    return
        except OrderStands as stands:
            self._kit.log.warning("order_stands", recommendation_id=str(item), order=str(stands))
        except LeaseLost:
            # Another decides, or it went on before the defect was met: the lease runs out and the row says where it stands.
            self._kit.log.info("lease_lost", recommendation_id=str(item))
            return
        async with self._kit.engine.begin() as connection:
            await claim_store.requeue(connection, self._owner, item, backoff_seconds(row.delays + 2), why)

    async def _outcome(self, item: ClaimedRecommendation, row: ClaimedRow) -> Terminal | RetryLater | None:
        """What becomes of the item now; None if it was put back to wait for market time."""
        if item.cancelled is not None:
            return cancelled(item.cancelled)
        if item.state is RecommendationState.EXECUTING:
            resumed = await self._resume(item)
            if resumed is not None:
                return resumed
        elif (
            ended := self._end_of_life(item, life_at(row.life_clock, row.expire_at, row.now, row.market))
        ) is not None:
            return ended
        if item.state is RecommendationState.PROPOSED and not await self._begin(item):
            return None
        if item.is_entry and item.state is RecommendationState.IN_REVIEW:
            reviewed = await self._reviewed(item)
            if reviewed is not None:
                return reviewed
        return await self._assess_and_execute(item)

    async def _reviewed(self, item: ClaimedRecommendation) -> Terminal | RetryLater | None:
        try:
            verdict = await self._stages.validate(item.recommendation)
        except ContractViolation as error:
            return Terminal(RecommendationState.REJECTED, "validator", (error.reason,))
        except MeshError as error:
            return self._failed(error, "validator", item)
        return verdict if isinstance(verdict, Terminal) else None

    async def _assess_and_execute(self, item: ClaimedRecommendation) -> Terminal | RetryLater:
        why = Reason("RESERVATION_LOST", str(MOST_ATTEMPTS), str(MOST_ATTEMPTS), "count", "service:executor")
        for _ in range(MOST_ATTEMPTS):
            decided = await self._word_of_risk(item)
            if not isinstance(decided, Approved):
                return decided
            if item.tells_less_than(decided):
                await self._change(item, RecommendationState.EXECUTING, decided.decided_by, decided.reasons, decided)
            outcome = await self._ordered(item, decided)
            if isinstance(outcome, Reassess) and self._goes_alone(item):
                outcome = await self._ordered(item, without_risk(item.recommendation.base_size, outcome.why))
            if not isinstance(outcome, Reassess):
                return outcome
            why = outcome.why
        return self._again(item, why)

    def _goes_alone(self, item: ClaimedRecommendation) -> bool:
        """An exit needs nobody's word but the executor's. A replay waits, so that it comes to the same every time."""
        return not item.is_entry and not self._settings.lockstep

    async def _word_of_risk(self, item: ClaimedRecommendation) -> Approved | Terminal | RetryLater:
        """What the risk engine says; of an exit that goes alone only what it says in time."""
        alone = self._goes_alone(item)
        try:
            return await self._stages.assess(item.recommendation, self._settings.exit_risk_seconds if alone else None)
        except ContractViolation as error:
            if alone:
                return without_risk(item.recommendation.base_size, error.reason)
            if item.is_entry:
                return Terminal(RecommendationState.REJECTED, "risk", (error.reason,))
            return RetryLater(backoff_seconds(item.delays), error.reason)
        except MeshError as error:
            failed = self._failed(error, "risk", item)
            return (
                without_risk(item.recommendation.base_size, failed.why)
                if alone and isinstance(failed, RetryLater)
                else failed
            )

    async def _ordered(self, item: ClaimedRecommendation, decided: Approved) -> Terminal | RetryLater | Reassess:
        try:
            order = await self._stages.execute(item.recommendation, decided)
        except ContractViolation as error:
            return RetryLater(backoff_seconds(item.delays), error.reason)
        except MeshError as error:
            return after_error(error, "executor", item.recommendation.side, item.delays, bool(decided.ticket))
        return self._seen(item, order)

    def _again(self, item: ClaimedRecommendation, why: Reason) -> RetryLater:
        """The reservation is lost each time; one that goes on being lost is asked for more and more slowly."""
        return RetryLater(max(1.0, backoff_seconds(item.delays)), why)

    def _seen(self, item: ClaimedRecommendation, order: OrderSeen) -> Terminal | RetryLater:
        item.order_id = order.order_id
        return after_order(order, item.delays)

    async def _resume(self, item: ClaimedRecommendation) -> Terminal | RetryLater | None:
        """What the executor already knows; None if it has no order and one may still be asked for."""
        waits: RetryLater | None = None
        try:
            order = await self._stages.find_order(item.id)
            if order is not None:
                return self._seen(item, order)
        except ContractViolation as error:
            waits = RetryLater(backoff_seconds(item.delays), error.reason)
        except MeshError as error:
            found = self._failed(error, "executor", item)
            if isinstance(found, Terminal):
                return found
            waits = found
        if not item.is_entry:
            return waits
        life = await self._life(item.recommendation.life_clock, item.recommendation.expire_time, EXECUTE_GRACE)
        return self._end_of_life(item, life) or waits

    def _failed(self, error: MeshError, stage: str, item: ClaimedRecommendation) -> Terminal | RetryLater:
        outcome = after_error(error, stage, item.recommendation.side, item.delays)
        return self._again(item, outcome.why) if isinstance(outcome, Reassess) else outcome

    def _end_of_life(self, item: ClaimedRecommendation, life: Life) -> Terminal | RetryLater | None:
        """The end of an entry whose life is over, a delay where nobody can tell; None if it may go on, as every exit may."""
        if not item.is_entry:
            return None
        try:
            life.require_known()
        except MeshError as error:
            return self._failed(error, "market", item)
        return self._expired(item) if life.is_over else None

    async def _life(self, clock: LifeClock, expire_time: datetime, grace: timedelta) -> Life:
        """A life now; one by machine time lasts longer by `grace`."""
        async with self._kit.autocommit.connect() as connection:
            clocks = await read_clocks(connection)
        return life_at(clock, expire_time, clocks.machine - grace, clocks.market)

    async def _out_of_retries(self, item: ClaimedRecommendation) -> bool:
        if item.is_entry or item.delayed_since is None:
            return False
        async with self._kit.autocommit.connect() as connection:
            now = (await read_clocks(connection)).machine
        return out_of_retries(item.recommendation.side, item.delayed_since, now)

    def _expired(self, item: ClaimedRecommendation) -> Terminal:
        """The end of a life, with what the item waited for; how often a replay waits says nothing of its decisions."""
        unit = "market_time" if item.recommendation.life_clock is LifeClock.MARKET else "machine_time"
        over = Reason("LIFE_OVER", item.recommendation.expire_time.isoformat(), "", unit, "request")
        waited = () if item.delay_reason is None or self._settings.lockstep else (item.delay_reason,)
        return Terminal(RecommendationState.EXPIRED, "orchestrator", (over, *waited))

    async def _begin(self, item: ClaimedRecommendation) -> bool:
        """Takes the item into review. False if this bar's reviews are used up: it waits for the market's next bar.

        Counting and beginning are one transaction under a lock, so that processors beside each other keep to the budget.
        """
        budget = self._settings.review_budget_per_bar
        async with self._kit.engine.begin() as connection:
            if item.is_entry and budget is not None:
                await store.lock_reviews(connection)
                recommendation = item.recommendation
                market = (await read_clocks(connection)).market
                bar = max(recommendation.as_of, market) if market else recommendation.as_of
                ahead = await store.reviews_ahead(connection, recommendation.priority, recommendation.product_id, bar)
                if await store.reviews_begun(connection, bar) + ahead >= budget:
                    next_bar = bar + timedelta(seconds=self._settings.granularity_seconds)
                    await claim_store.requeue(connection, self._owner, item.id, 0, wait_for_market=next_bar)
                    self._kit.log.info("review_budget_used", recommendation_id=str(item.id), budget=budget)
                    return False
            await change_state(connection, self._owner, beginning(item.recommendation))
        log_change(self._kit, item.recommendation, beginning(item.recommendation))
        item.state = RecommendationState.IN_REVIEW
        return True

    async def _change(
        self,
        item: ClaimedRecommendation,
        to_state: RecommendationState,
        decided_by: str,
        reasons: tuple[Reason, ...],
        approved: Approved | None = None,
    ) -> None:
        """A change of state, committed. Raises LeaseLost if the item is no longer ours."""
        size = approved.size if approved and approved.ticket else None
        change = Transition(
            item.id,
            item.state,
            to_state,
            decided_by,
            reasons,
            item.recommendation.as_of,
            size,
            item.order_id,
        )
        await self._transitions.change(change, urgent=not item.is_entry)
        log_change(self._kit, item.recommendation, change)
        item.state, item.adjusted_size = to_state, size or item.adjusted_size

    async def _requeue(self, item: ClaimedRecommendation, delay: RetryLater) -> None:
        async with self._kit.engine.begin() as connection:
            seconds, next_bar = delay.seconds, None
            if delay.until_next_bar and self._settings.lockstep:
                market = (await read_clocks(connection)).market or item.recommendation.as_of
                seconds, next_bar = 0.0, market + timedelta(seconds=self._settings.granularity_seconds)
            await claim_store.requeue(connection, self._owner, item.id, seconds, delay.why, next_bar)
        self._kit.log.info(
            "recommendation_delayed",
            recommendation_id=str(item.id),
            seconds=delay.seconds,
            reason=delay.why.code,
            observed=delay.why.observed,
        )
