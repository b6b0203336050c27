"""Plays one run in a lane: trades until the cell's point is met, lets everybody recover, and judges the histories.

The checker and its words are those of the drill. What is judged here besides is what it cannot see: how long, by the
exchange's clock, an order was in doubt and a position unprotected after everybody was reachable again, and whether what
the executor had answered stayed true.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from uuid import UUID

import grpc

from tests.chaos.caller import Answer
from tests.chaos.checks import UNKNOWN_SECONDS, Reach, answers_hold, bare, doubtful, too_late
from tests.chaos.grid import Point
from tests.chaos.injection import Injection
from tests.chaos.lane import Lane
from tests.chaos.parties import Died
from tests.chaos.plan import Act, ChaosPlan
from tests.drill.executor_calls import NotAnswered, new_id
from tests.drill.faults import NO_FAULTS
from tests.drill.history import DatabaseSide, History, Violation, violations
from tests.drill.plan import HandTrade
from tests.drill.proxy import sends_of
from tests.drill.reading import database_side
from tests.drill.settling import WronglyTaken
from tradekit import ids

# For those who die with the run's last request; a bound of the run and of nothing else.
_WALL_SECONDS = 180.0
_POINT_SECONDS = 15.0
_PROTECTED_SECONDS = 60.0
_LOOK_LOW_SECONDS, _LOOK_HIGH_SECONDS = 0.05, 1.0
_STEP = Decimal("0.00000001")
_FAILED = {
    TimeoutError: "not back",
    Died: "ended by itself",
    NotAnswered: "not answered",
    WronglyTaken: "taken of a position",
}
_NO_HABITS = dict.fromkeys(
    ("hide_new_seconds", "pending_seconds", "stale_balance_seconds", "settle_seconds", "cancel_seconds", "fail_share"),
    0.0,
) | {"fill_share": 1.0}


@dataclass
class RunResult:
    """One run, played and judged. `unknown` and `unprotected`: exchange seconds after everybody was reachable until there was
    neither."""

    plan: ChaosPlan
    struck: bool
    violations: list[Violation]
    ends: Counter[str]
    unknown: float
    unprotected: float
    seconds: float
    told: list[str] = field(default_factory=list)


class Player:
    """Plays runs in the lane's present chapter. `patience_seconds`, by the exchange's clock: how long what is wrong may still
    become right."""

    def __init__(self, lane: Lane, patience_seconds: float = UNKNOWN_SECONDS) -> None:
        self._lane = lane
        self._patience_seconds = patience_seconds
        self._failed: list[Violation] = []
        self._told: list[str] = []
        self._unknown = self._unprotected = 0.0

    async def play(self, plan: ChaosPlan) -> RunResult:
        """One run."""
        self._failed, self._told = [], []
        self._unknown = self._unprotected = 0.0
        began, first = time.monotonic(), len(self._lane.operator.answers)
        injection = Injection(plan, self._lane)
        self._lane.proxy.begin(replace(NO_FAULTS, stale=False), injection)
        self._lane.frames = injection
        try:
            await self._story(plan, injection)
            await injection.finish()
            found = await self._judged()
        except (TimeoutError, Died, NotAnswered, WronglyTaken) as error:
            await injection.finish()
            found = [Violation(_FAILED[type(error)], f"seed {plan.seed}", str(error))]
        answers = self._lane.operator.answers[first:]
        return RunResult(
            plan,
            injection.struck.is_set(),
            [*self._failed, *found],
            Counter(one.state or one.refusal for one in answers),
            self._unknown,
            self._unprotected,
            time.monotonic() - began,
            [*self._told, *map(str, answers)],
        )

    # ---- the story ---------------------------------------------------------------------------------------------------

    async def _story(self, plan: ChaosPlan, injection: Injection) -> None:
        if plan.act is not Act.ENTRY:
            await self._buy(plan.product, plan.quote)
            await self._until_protected(plan.product)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tried(plan, self._act(plan, injection)))
            if plan.beside is not None:
                group.create_task(self._tried(plan, self._buy(plan.beside, plan.quote)))
            if plan.stranger is not None:
                group.create_task(self._tried(plan, self._trade_by_hand(plan.stranger)))
        if plan.afterwards is not None:
            await self._tried(plan, self._sell(plan.product, plan.afterwards))

    async def _tried(self, plan: ChaosPlan, step: Coroutine[Any, Any, Any]) -> None:
        """A step that could not be done in the time that it has is a finding."""
        try:
            await step
        except (NotAnswered, TimeoutError, grpc.aio.AioRpcError) as error:
            self._failed.append(Violation("step failed", f"seed {plan.seed}", f"{type(error).__name__}: {error}"))

    async def _act(self, plan: ChaosPlan, injection: Injection) -> None:
        any_request = plan.cell.point in (Point.IN_CANCEL, Point.IN_BRACKET)
        match plan.act:
            case Act.ENTRY:
                await self._buy(plan.product, plan.quote, injection, any_request=any_request)
            case Act.EXIT:
                await self._sell(plan.product, plan.share, injection, any_request=any_request)
            case Act.CLOSE:
                request_id = new_id()
                order_id = str(ids.close_order_id(UUID(request_id), plan.product))
                injection.arm(None if any_request else order_id)
                await self._lane.operator.close(plan.product, request_id)
            case Act.CANCEL:
                injection.arm(None)
                await self._lane.operator.cancel_all(plan.product)
        try:
            async with asyncio.timeout(_POINT_SECONDS):
                await injection.struck.wait()
        except TimeoutError:
            self._told.append("the point was not met")

    async def _buy(
        self, product: str, quote: Decimal, injection: Injection | None = None, *, any_request: bool = False
    ) -> Answer:
        request = await self._lane.operator.entry(product, quote)
        if injection is not None:
            injection.arm(None if any_request else _order_id(request))
        return await self._lane.operator.execute(request)

    async def _sell(
        self, product: str, share: Decimal, injection: Injection | None = None, *, any_request: bool = False
    ) -> None:
        rows = await self._lane.fetch("SELECT base_size FROM positions WHERE product_id = $1", product)
        held = rows[0]["base_size"] if rows else Decimal(0)
        size = (held * share).quantize(_STEP, ROUND_FLOOR)
        if size <= 0:
            self._told.append("nothing was held")
            return
        request = await self._lane.operator.exit(product, size)
        if injection is not None:
            injection.arm(None if any_request else _order_id(request))
        await self._lane.operator.execute(request)

    async def _trade_by_hand(self, trade: HandTrade) -> None:
        await asyncio.sleep(trade.at)
        hand = self._lane.hand
        taken = await (
            hand.buy(trade.product, trade.quote) if trade.side == "BUY" else hand.sell(trade.product, trade.share)
        )
        self._told.append(f"{trade}: {'taken' if taken else 'not taken'}")

    async def _until_protected(self, product: str) -> None:
        """The entry of the story has its bracket."""
        async with asyncio.timeout(_PROTECTED_SECONDS):
            while bare(await self._database(), product):
                await asyncio.sleep(0.02)

    # ---- quiet and judgement -----------------------------------------------------------------------------------------

    async def _judged(self) -> list[Violation]:
        """What is wrong once nothing is open, or when the time for that is over."""
        lane = self._lane
        await lane.proxy.quiet()
        await lane.until_back()
        await lane.habits(**_NO_HABITS)
        end = time.monotonic() + _WALL_SECONDS
        await lane.settling.book_foreign_acts()
        reach, pause = Reach(lane), _LOOK_LOW_SECONDS
        while True:
            side = await self._database()
            elapsed = await reach.seconds()
            in_doubt, unprotected = list(doubtful(side)), bare(side)
            self._unknown = elapsed if in_doubt else self._unknown
            self._unprotected = elapsed if unprotected else self._unprotected
            over = elapsed > self._patience_seconds or time.monotonic() > end
            if over or (not in_doubt and not unprotected and await lane.operator.reconcile()):
                late = too_late(in_doubt, self._unknown, self._unprotected)
                found = [*late, *await self._found()]
                if over or not any(one.may_heal for one in found):
                    return found
            lane.executor.must_live()
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LOOK_HIGH_SECONDS)

    async def _found(self) -> list[Violation]:
        history = History(
            exchange=await self._lane.hand.exchange_side(),
            database=await self._database(),
            sends=tuple(sends_of(self._lane.proxy.passages)),
            booked=tuple(self._lane.settling.booked),
        )
        return [*violations(history), *answers_hold(history.database, self._lane.operator.answers)]

    async def _database(self) -> DatabaseSide:
        """The ledger; recommendations end with the orchestrator, who is not here."""
        return replace(await database_side(self._lane), recommendations=())


def _order_id(request: Any) -> str:
    return str(ids.order_id(UUID(request.recommendation.recommendation_id)))
