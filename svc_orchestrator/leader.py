"""Leads one claimed recommendation as far as it can go now: to its end, or back to the rows with a delay.

Every stage answers a repeated id with its stored answer, so leading an item again from the rows is always safe.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import MeshError
from meshkit.kit import Kit
from schema.recommendation_rows import recommendation_of_row
from svc_orchestrator import store
from svc_orchestrator.settings import OrchestratorSettings
from svc_orchestrator.stages import Stages
from svc_orchestrator.steps import (
    Approved,
    AssessAgain,
    Delay,
    End,
    OrderSeen,
    after_error,
    after_order,
    backoff_seconds,
)
from tradekit.reasons import Reason
from tradekit.recommendation import Recommendation
from tradekit.states import LifeClock, RecommendationState, Side

# An ExecuteRecommendation call of a dead orchestrator may still run this long after the item's life.
EXECUTE_GRACE = timedelta(seconds=30)
MOST_ATTEMPTS = 3


class LeaseLost(Exception):
    """Somebody else leads this item now; nothing was changed."""


@dataclass(slots=True)
class Item:
    """A claimed recommendation while it is led."""

    recommendation: Recommendation
    state: RecommendationState
    delays: int
    order_id: UUID | None = None

    @property
    def id(self) -> UUID:
        """The recommendation's id."""
        return self.recommendation.recommendation_id

    @property
    def is_entry(self) -> bool:
        """True for a BUY."""
        return self.recommendation.side is Side.BUY


class Leader:
    """Leads items; holds no state of any item."""

    def __init__(
        self, settings: OrchestratorSettings, kit: Kit[OrchestratorSettings], stages: Stages, owner: str
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._stages = stages
        self._owner = owner

    async def lead(self, row: RowMapping) -> None:
        """Leads a claimed row. Never raises for what a stage does; LeaseLost ends it quietly."""
        item = Item(recommendation_of_row(row), RecommendationState(row["state"]), row["delays"])
        try:
            outcome = await self._outcome(item)
            if isinstance(outcome, End):
                await self._change(item, outcome.state, outcome.decided_by, outcome.reasons)
            elif isinstance(outcome, Delay):
                await self._put_back(item, outcome)
        except LeaseLost:
            self._kit.log.info("lease_lost", recommendation_id=str(item.id))

    async def _outcome(self, item: Item) -> End | Delay | None:
        """What becomes of the item now; None if it was put back to wait for market time."""
        if item.state is RecommendationState.EXECUTING:
            resumed = await self._resume(item)
            if resumed is not None:
                return resumed
        elif item.is_entry and await self._life_is_over(item, timedelta(0)):
            return End(RecommendationState.EXPIRED, "orchestrator", (self._expired(item),))
        if item.state is RecommendationState.PROPOSED and not await self._begin(item):
            return None
        if item.is_entry and item.state is RecommendationState.IN_REVIEW:
            reviewed = await self._reviewed(item)
            if reviewed is not None:
                return reviewed
        return await self._assess_and_execute(item)

    async def _reviewed(self, item: Item) -> End | Delay | None:
        try:
            verdict = await self._stages.validate(item.recommendation)
        except MeshError as error:
            return self._failed(error, "validator", item)
        return verdict if isinstance(verdict, End) else None

    async def _assess_and_execute(self, item: Item) -> End | Delay:
        why = Reason("RESERVATION_LOST", str(MOST_ATTEMPTS), str(MOST_ATTEMPTS), "count", "service:executor")
        for _ in range(MOST_ATTEMPTS):
            try:
                decided = await self._stages.assess(item.recommendation)
            except MeshError as error:
                return self._failed(error, "risk", item)
            if isinstance(decided, End):
                return decided
            if item.state is not RecommendationState.EXECUTING:
                await self._change(item, RecommendationState.EXECUTING, "risk", decided.reasons, decided)
            try:
                order = await self._stages.execute(item.recommendation, decided)
            except MeshError as error:
                outcome = after_error(error, "executor", item.recommendation.side, item.delays)
                if isinstance(outcome, AssessAgain):
                    why = outcome.why
                    continue
                return outcome
            return self._seen(item, order)
        return self._again(item, why)

    def _again(self, item: Item, why: Reason) -> Delay:
        """The reservation is lost each time; one that goes on being lost is asked for more and more slowly."""
        return Delay(max(1.0, backoff_seconds(item.delays)), why)

    def _seen(self, item: Item, order: OrderSeen) -> End | Delay:
        item.order_id = order.order_id
        return after_order(order, item.delays)

    async def _resume(self, item: Item) -> End | Delay | None:
        """What the executor already knows; None if it has no order and one may still be asked for."""
        try:
            order = await self._stages.find_order(item.id)
        except MeshError as error:
            return self._failed(error, "executor", item)
        if order is not None:
            return self._seen(item, order)
        if item.is_entry and await self._life_is_over(item, EXECUTE_GRACE):
            return End(RecommendationState.EXPIRED, "orchestrator", (self._expired(item),))
        return None

    def _failed(self, error: MeshError, stage: str, item: Item) -> End | Delay:
        outcome = after_error(error, stage, item.recommendation.side, item.delays)
        return self._again(item, outcome.why) if isinstance(outcome, AssessAgain) else outcome

    async def _life_is_over(self, item: Item, grace: timedelta) -> bool:
        recommendation = item.recommendation
        async with self._kit.engine.connect() as connection:
            if recommendation.life_clock is LifeClock.MARKET:
                now = await store.stage_as_of(connection, "market")
                return now is not None and now >= recommendation.expire_time
            return await store.machine_time(connection) >= recommendation.expire_time + grace

    def _expired(self, item: Item) -> Reason:
        unit = "market_time" if item.recommendation.life_clock is LifeClock.MARKET else "machine_time"
        return Reason("LIFE_OVER", item.recommendation.expire_time.isoformat(), "", unit, "request")

    async def _begin(self, item: Item) -> bool:
        """Takes the item into review. False if this bar's reviews are used up: it waits for the market's next bar.

        Counting and beginning are one transaction under a lock, so that leaders beside each other keep to the budget.
        """
        budget = self._settings.review_budget_per_bar
        async with self._kit.engine.begin() as connection:
            if item.is_entry and budget is not None:
                await store.lock_reviews(connection)
                bar = await self._event_time(connection, item)
                idea = item.recommendation
                ahead = await store.reviews_ahead(connection, idea.priority, idea.product_id, bar)
                if await store.reviews_begun(connection, bar) + ahead >= budget:
                    next_bar = bar + timedelta(seconds=self._settings.granularity_seconds)
                    await store.put_back(connection, self._owner, item.id, 0, next_bar)
                    self._kit.log.info("review_budget_used", recommendation_id=str(item.id), budget=budget)
                    return False
            await self._write(connection, item, RecommendationState.IN_REVIEW, "orchestrator", ())
        self._changed(item, RecommendationState.IN_REVIEW, "orchestrator", ())
        return True

    async def _change(
        self,
        item: Item,
        to_state: RecommendationState,
        decided_by: str,
        reasons: tuple[Reason, ...],
        approved: Approved | None = None,
    ) -> None:
        """A change of state in a transaction of its own. Raises LeaseLost if the item is no longer ours."""
        async with self._kit.engine.begin() as connection:
            await self._write(connection, item, to_state, decided_by, reasons, approved)
        self._changed(item, to_state, decided_by, reasons)

    async def _write(
        self,
        connection: AsyncConnection,
        item: Item,
        to_state: RecommendationState,
        decided_by: str,
        reasons: tuple[Reason, ...],
        approved: Approved | None = None,
    ) -> None:
        changed = await store.change_state(
            connection,
            self._owner,
            item.id,
            item.state,
            to_state,
            decided_by,
            reasons,
            await self._event_time(connection, item),
            approved.size if approved else None,
            item.order_id,
        )
        if not changed:
            raise LeaseLost

    def _changed(self, item: Item, to_state: RecommendationState, decided_by: str, reasons: tuple[Reason, ...]) -> None:
        self._kit.log.info(
            "recommendation",
            recommendation_id=str(item.id),
            product_id=item.recommendation.product_id,
            side=item.recommendation.side.value,
            from_state=item.state.value,
            to_state=to_state.value,
            decided_by=decided_by,
            reasons=[reason.code for reason in reasons],
        )
        item.state = to_state

    async def _event_time(self, connection: AsyncConnection, item: Item) -> datetime:
        """Market time of an event: an item's own bar, or the market's where that has moved on."""
        market = await store.stage_as_of(connection, "market")
        return max(item.recommendation.as_of, market) if market else item.recommendation.as_of

    async def _put_back(self, item: Item, delay: Delay) -> None:
        async with self._kit.engine.begin() as connection:
            await store.put_back(connection, self._owner, item.id, delay.seconds)
        self._kit.log.info(
            "recommendation_delayed",
            recommendation_id=str(item.id),
            seconds=delay.seconds,
            reason=delay.why.code,
            observed=delay.why.observed,
        )
