"""Plays one run in a world: its steps at their times, then quiet, then the histories are read and judged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tests.drill.history import History, SwitchPeriod, Violation, violations
from tests.drill.plan import Buy, Close, ForeignHold, HandTrade, Kill, RunPlan, Sell, Step, Switch
from tests.drill.proxy import ORDERS, sends_of
from tests.drill.reading import database_side
from tests.drill.settling import Settling, WronglyTaken
from tests.drill.world import World

# Nothing may be unknown 60 s after the last fault; a busy machine gets half as much again.
QUIET_SECONDS = 90.0
# The longest that faults go on for what has not come to its order.
SEND_SECONDS = 6.0
_UNSENT = """SELECT (SELECT count(*) FROM orders WHERE send_count = 0 AND state = 'PENDING')
                  + (SELECT count(*) FROM trade_recommendations r WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')
                     AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.recommendation_id = r.recommendation_id)) AS unsent"""
_OPEN = """SELECT (SELECT count(*) FROM orders WHERE state IN ('PENDING', 'UNKNOWN', 'OPEN')
                                                 AND NOT (state = 'OPEN' AND order_type <> 'MARKET'))
                + (SELECT count(*) FROM trade_recommendations WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')) AS open"""


@dataclass
class RunResult:
    """One run, played and judged. `states` counts the ends of its recommendations."""

    plan: RunPlan
    violations: list[Violation]
    states: Counter[str]
    faults: Counter[str]
    answers: list[str]
    seconds: float
    quiet_seconds: float
    # Where the histories and logs lie while the world lives.
    history: Path


@dataclass
class Player:
    """Plays runs in one world; keeps what the next run's judgement needs."""

    world: World
    settling: Settling = field(init=False)
    switches: list[SwitchPeriod] = field(default_factory=list)
    told: set[tuple[str, str]] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _failed: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settling = Settling(self.world)

    async def play(self, plan: RunPlan) -> RunResult:
        """One run, judged when all is quiet."""
        began = time.monotonic()
        first = len(self.world.proxy.passages)
        answers: list[str] = []
        self.world.proxy.begin(plan.faults)
        self._failed = []
        async with asyncio.TaskGroup() as group:
            for step in plan.steps:
                group.create_task(self._tried(step, plan.seed, answers))
        quiet = time.monotonic()
        try:
            if not self.world.hand.traded:
                await self._until_sent()
            quiet = time.monotonic()
            await self._quiet()
        except TimeoutError as error:
            self._failed.append(Violation("not back", f"seed {plan.seed}", str(error)))
        except WronglyTaken as error:
            self._failed.append(Violation("taken of a position", f"seed {plan.seed}", str(error)))
        history, found = await self._judged(quiet + QUIET_SECONDS)
        with (self.world.folder / "logs" / "passages.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(f"{passage.as_json()}\n" for passage in self.world.proxy.passages)
        found = [*self._failed, *found]
        self.told |= {one.key for one in found}
        new = [row for row in history.database.recommendations if row.recommendation_id not in self._seen]
        self._seen |= {row.recommendation_id for row in new}
        now = time.monotonic()
        return RunResult(
            plan,
            found,
            Counter(row.state for row in new),
            Counter(one.fault for one in self.world.proxy.passages[first:] if one.path == ORDERS),
            answers,
            now - began,
            now - quiet,
            self.world.folder / "logs",
        )

    # ---- the steps ---------------------------------------------------------------------------------------------------

    async def _tried(self, step: Step, seed: int, answers: list[str]) -> None:
        """One step; what it could not do in the time that it has is a finding."""
        try:
            await self._step(step, answers)
        except Exception as error:
            self._failed.append(Violation("step failed", f"seed {seed}", f"{step}: {type(error).__name__}: {error}"))

    async def _step(self, step: Step, answers: list[str]) -> None:
        await asyncio.sleep(step.at)
        match step:
            case Buy(_, product, quote):
                answers.append(f"{step}: {await self.world.operator.buy(product, quote)}")
            case Sell(_, product, share):
                answers.append(f"{step}: {await self._sell(product, share)}")
            case Close(_, product):
                answers.append(f"{step}: {await self.world.operator.close_position(product)}")
            case Switch():
                answers.append(f"{step}: {await self._switch(step)}")
            case Kill(_, victim):
                answers.append(f"{step}: {'killed' if self.world.kill(victim) else 'was not alive'}")
            case HandTrade():
                answers.append(f"{step}: {await self._hand_trade(step)}")
            case ForeignHold():
                answers.append(f"{step}: {await self._hold(step)}")

    async def _sell(self, product: str, share: Decimal) -> str:
        if share == 1:
            return await self.world.operator.sell(product, None)
        rows = await self.world.fetch("SELECT base_size FROM positions WHERE product_id = $1", product)
        held = rows[0]["base_size"] if rows else Decimal(0)
        size = (held * share).quantize(Decimal("0.0001"))
        return await self.world.operator.sell(product, size) if size > 0 else "nothing is held"

    async def _switch(self, step: Switch) -> str:
        operator = self.world.operator
        by_command = step.by_command
        in_force = await (operator.stop_by_command(step.state) if by_command else operator.stop(step.state, "drill"))
        await asyncio.sleep(max(0.0, in_force + step.seconds - time.monotonic()))
        self.switches.append(SwitchPeriod(step.state, in_force, time.monotonic()))
        await operator.resume("drill")
        return "stopped and resumed"

    async def _hand_trade(self, step: HandTrade) -> str:
        hand = self.world.hand
        taken = await (
            hand.buy(step.product, step.quote) if step.side == "BUY" else hand.sell(step.product, step.share)
        )
        return "taken" if taken else "not taken"

    async def _hold(self, step: ForeignHold) -> str:
        order_id = await self.world.hand.hold(step.product, step.share)
        if order_id is None:
            return "not taken"
        await asyncio.sleep(step.seconds)
        await self.settling.release(order_id)
        return "held"

    async def _until_sent(self) -> None:
        """The faults go on until everybody who was killed is back and what was entered has come as far as its order."""
        await self.world.until_back()
        end = time.monotonic() + SEND_SECONDS
        while (await self.world.fetch(_UNSENT))[0]["unsent"] and time.monotonic() < end:
            await asyncio.sleep(0.05)

    # ---- quiet -------------------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        """No fault, everybody alive, trading ACTIVE: returns when nothing is open and the ledger is settled, or too late."""
        await self.world.proxy.quiet()
        await self.world.until_back()
        end = time.monotonic() + QUIET_SECONDS
        await self.settling.book_foreign_acts()
        while (await self.world.fetch(_OPEN))[0]["open"] and time.monotonic() < end:
            await asyncio.sleep(0.1)
        await self.settling.until_clean(end)

    async def _judged(self, end: float) -> tuple[History, list[Violation]]:
        """The histories and what is wrong with them, once nothing is or at `end`: what is doubtful is still looked for."""
        while True:
            history = await self._read()
            found = [one for one in violations(history) if one.key not in self.told]
            if not any(one.may_heal for one in found) or time.monotonic() > end:
                return history, found
            await asyncio.sleep(1.0)

    async def _read(self) -> History:
        return History(
            exchange=await self.world.hand.exchange_side(),
            database=await database_side(self.world),
            sends=tuple(sends_of(self.world.proxy.passages)),
            switches=tuple(self.switches),
            booked=tuple(self.settling.booked),
        )
