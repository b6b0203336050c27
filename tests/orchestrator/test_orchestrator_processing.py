"""Each recommendation comes to exactly one end with at most one order, whatever the stages, the streams and the
orchestrators themselves do meanwhile."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select, text
from waiting import eventually

from meshkit.errors import Internal
from schema.recommendations import trade_recommendations
from svc_orchestrator.store import life_over
from tests.orchestrator.orchestrator_world import HOUR, World
from tests.orchestrator.stand_ins import AS_OF, first_time_only, unavailable
from tradekit.life import life_at
from tradekit.states import LifeClock

D = Decimal
PATH = ["PROPOSED", "IN_REVIEW", "EXECUTING", "EXECUTED"]
GONE = datetime(2020, 1, 1, tzinfo=UTC)


async def test_each_stage_decides_what_it_decides(world: World) -> None:
    stages = world.stages
    good, vetoed, refused, reduced, nothing, canceled = await world.propose(6)
    (exit_,) = await world.propose(1, side="SELL", size=D("0.5"))
    (late,) = await world.propose(1, expire_at=GONE)
    (late_exit,) = await world.propose(1, side="SELL", size=D("0.5"), expire_at=GONE)
    names = {key: row["product_id"] for key, row in (await world.rows()).items()}
    stages.validator.rejects = {names[vetoed]}
    stages.risk.decisions = {names[refused]: (3, "0"), names[reduced]: (2, "40.25")}
    stages.executor.states = {names[nothing]: 6, names[canceled]: 5}
    async with world.orchestrator():
        rows = await world.until_ended()
    await world.check_once()

    def told(item: str) -> tuple[str, str, list[str]]:
        row = rows[item]
        return row["state"], row["decided_by"], [reason["code"] for reason in row["reasons"]]

    assert told(good) == told(exit_) == told(late_exit) == ("EXECUTED", "exchange", [])
    assert told(vetoed) == ("REJECTED", "validator:rules", ["LOW_EDGE"])
    assert told(refused) == ("REJECTED", "risk", ["PORTFOLIO_HEAT"])
    assert told(reduced)[0] == "EXECUTED"
    assert rows[reduced]["adjusted_size"] == D("40.25")
    assert told(nothing) == ("FAILED", "exchange", ["INSUFFICIENT_FUND"])
    assert told(canceled) == ("FAILED", "exchange", ["NOTHING_FILLED"])
    assert told(late) == ("EXPIRED", "orchestrator", ["LIFE_OVER"])
    histories = await world.histories()
    assert histories[good] == histories[exit_] == PATH
    assert histories[late] == ["PROPOSED", "EXPIRED"]
    assert {exit_, late_exit, late}.isdisjoint(stages.validator.asked)
    assert {vetoed, late}.isdisjoint(stages.risk.asked)
    assert {vetoed, refused, late}.isdisjoint(stages.executor.executed)
    assert str(rows[good]["order_id"]) == stages.executor.orders[good].order_id


async def test_transport_errors_at_every_moment_end_nothing(world: World) -> None:
    """Streams drop after they took items, the executor fails before and after it made the order, and cannot be asked."""
    stages = world.stages
    stages.validator.drops, stages.risk.drops = [1, 2], [1, 3]
    stages.validator.before, stages.risk.before = first_time_only(), first_time_only()
    items = await world.propose(6)
    items += await world.propose(3, side="SELL", size=D(1))
    stages.executor.before = first_time_only(set(items[::2]))
    stages.executor.after = first_time_only(set(items[1::2]))
    asked: Counter[str] = Counter()

    async def cannot_tell_yet(request: Any) -> None:
        asked[request.recommendation_id] += 1
        if asked[request.recommendation_id] == 1:
            raise Internal("e-1")

    stages.executor.on_get = cannot_tell_yet
    async with world.orchestrator():
        rows = await world.until_ended()
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    await world.check_once()
    assert sorted(item for item, _ in stages.executor.created) == sorted(items)
    assert stages.validator.opened > 2
    assert stages.risk.opened > 2


async def test_an_unknown_order_keeps_its_item_until_its_fate_is_known(world: World) -> None:
    stages = world.stages
    names = ("C000-USD", "C001-USD", "C002-USD")
    stages.executor.states = dict(zip(names, (1, 2, 3), strict=True))
    # Its life ends meanwhile; an order that may exist is never given up.
    items = await world.propose(3)
    async with world.orchestrator():

        async def delayed() -> bool:
            return all(row["delays"] >= 2 for row in (await world.rows()).values())

        await eventually(delayed)
        assert {row["state"] for row in (await world.rows()).values()} == {"EXECUTING"}
        stages.executor.settle()
        rows = await world.until_ended()
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    assert sorted(stages.executor.executed) == sorted(items)
    await world.check_once()


async def test_a_lost_reservation_is_assessed_anew(world: World) -> None:
    stages = world.stages
    (item,) = await world.propose()

    async def lost_once(request: Any) -> None:
        if len(stages.executor.executed) == 1:
            stages.risk.lost.add(request.recommendation.recommendation_id)

    stages.executor.before = lost_once
    async with world.orchestrator():
        rows = await world.until_ended(item)
    assert rows[item]["state"] == "EXECUTED"
    assert stages.risk.attempts[item] == 2
    assert (await world.histories())[item] == PATH


async def test_a_later_attempt_with_another_size_is_written_down(world: World) -> None:
    stages = world.stages
    (item,) = await world.propose()

    async def lost_once(request: Any) -> None:
        if len(stages.executor.executed) == 1:
            stages.risk.lost.add(item)
            stages.risk.decisions = {request.recommendation.product_id: (2, "40.25")}

    stages.executor.before = lost_once
    async with world.orchestrator():
        row = (await world.until_ended(item))[item]
    assert (row["state"], row["adjusted_size"]) == ("EXECUTED", D("40.25"))
    assert (await world.histories())[item] == [*PATH[:3], "EXECUTING", "EXECUTED"]
    query = "SELECT decided_by, reasons FROM recommendation_events WHERE to_state = 'EXECUTING' ORDER BY sequence"
    first, second = await world.run(text(query))
    assert (first["reasons"], second["decided_by"]) == ([], "risk")
    assert [reason["code"] for reason in second["reasons"]] == ["PORTFOLIO_HEAT"]


async def test_an_entry_without_its_review_expires_and_an_exit_goes_on(world: World) -> None:
    stages = world.stages

    async def silent(_: Any) -> None:
        raise unavailable()

    stages.validator.before = silent
    life = (await world.run(_now()))[0]["soon"]
    entry, *_ = await world.propose(1, expire_at=life)
    (exit_,) = await world.propose(1, side="SELL", size=D(1))
    async with world.orchestrator():
        rows = await world.until_ended()
    assert (rows[entry]["state"], rows[entry]["decided_by"]) == ("EXPIRED", "orchestrator")
    assert [reason["code"] for reason in rows[entry]["reasons"]] == ["LIFE_OVER", "DEPENDENCY_UNAVAILABLE"]
    assert rows[exit_]["state"] == "EXECUTED"
    assert entry not in stages.risk.asked


async def test_what_came_faster_than_it_could_be_served_ends_when_its_life_does(world: World) -> None:
    """Better ones hold every place, for ever; those behind them end as EXPIRED all the same, and an exit goes past them."""
    held = asyncio.Event()

    async def hold(_: Any) -> None:
        await held.wait()

    best = await world.propose(2, priority=0.9)
    world.stages.validator.before = hold
    async with world.orchestrator(orchestrator_concurrency=2):
        await world.until_state(best[0], "IN_REVIEW")
        late = await world.propose(300, priority=0.1, expire_at=GONE)
        waiting = await world.propose(3, priority=0.2)
        (way_out,) = await world.propose(1, side="SELL", size=D(1))
        rows = await world.until_ended(*late, way_out)
        assert {rows[item]["state"] for item in late} == {"EXPIRED"}
        assert rows[late[0]]["reasons"][0]["code"] == "LIFE_OVER"
        assert rows[way_out]["state"] == "EXECUTED"
        assert {rows[item]["state"] for item in waiting} == {"PROPOSED"}
        held.set()
        rows = await world.until_ended()
    assert {rows[item]["state"] for item in (*best, *waiting)} == {"EXECUTED"}
    await world.check_once()


async def test_without_market_time_an_entry_of_a_market_life_waits_and_an_exit_does_not(world: World) -> None:
    """Nothing is begun for it and it does not expire, until the market has a time to measure it by."""
    life = {"life_clock": "MARKET", "expire_at": AS_OF + HOUR}
    (entry,) = await world.propose(1, **life)
    (exit_,) = await world.propose(1, side="SELL", size=D(1), **life)
    async with world.orchestrator():
        assert (await world.until_ended(exit_))[exit_]["state"] == "EXECUTED"

        async def delayed() -> bool:
            return (await world.rows())[entry]["delay_reason"] is not None

        await eventually(delayed)
        row = (await world.rows())[entry]
        assert (row["state"], row["delay_reason"]["code"]) == ("PROPOSED", "STALE_DATA")
        await world.watermark("market", AS_OF)
        await world.change(entry, not_before=None)
        rows = await world.until_ended()
    assert rows[entry]["state"] == "EXECUTED"
    assert world.stages.validator.asked == [entry]


async def test_a_row_s_life_is_over_in_sql_when_it_is_in_python(world: World) -> None:
    moments = [AS_OF - HOUR, AS_OF, AS_OF + HOUR, datetime(2099, 1, 1, tzinfo=UTC)]
    for clock in LifeClock:
        for end in moments:
            await world.propose(1, life_clock=clock.value, expire_at=end)
    for market in (None, *moments):
        by_sql = await world.run(select(trade_recommendations, life_over(market).label("over")))
        assert len(by_sql) == 2 * len(moments)
        for row in by_sql:
            life = life_at(LifeClock(row["life_clock"]), row["expire_at"], datetime.now(UTC), market)
            assert row["over"] == life.is_over, (market, row)


def _now() -> Any:
    return text("SELECT clock_timestamp() + interval '1.5 seconds' AS soon")


async def test_answers_that_lack_something_approve_nothing(world: World) -> None:
    """Another item's review, no verdict, an approval without a ticket, above what was asked, or of nothing."""
    stages = world.stages
    recommendations = await world.propose(7)
    (good,) = await world.propose()

    def review(found: Any) -> None:
        if found.recommendation_id == recommendations[0]:
            found.recommendation_id = good
        if found.recommendation_id == recommendations[1]:
            found.verdict = 0

    def assessment(found: Any) -> None:
        place = recommendations.index(found.recommendation_id) if found.recommendation_id in recommendations else -1
        if place == 2:
            found.ticket = ""
        elif place == 3:
            found.adjusted_size.value = "100.01"
        elif place == 4:
            found.adjusted_size.value = "0"
        elif place == 5:
            found.decision = 0
        elif place == 6:
            found.recommendation_id = good

    stages.validator.change, stages.risk.change = review, assessment
    async with world.orchestrator():
        rows = await world.until_ended()
    assert {rows[item]["state"] for item in recommendations} == {"REJECTED"}
    assert {rows[item]["reasons"][0]["code"] for item in recommendations} == {"CONTRACT_VIOLATION"}
    assert [rows[item]["decided_by"] for item in recommendations] == ["validator"] * 2 + ["risk"] * 5
    assert rows[good]["state"] == "EXECUTED"
    assert stages.executor.executed == [good]


async def test_the_review_budget_waits_for_the_next_bar(world: World) -> None:
    """Leaders beside each other keep to it; what waits competes again in the next bar, or its life is over there."""
    await world.watermark("market", AS_OF)
    items = await world.propose(6)
    short = await world.propose(1, life_clock="MARKET", expire_at=AS_OF + HOUR / 2, priority=0.1)
    exits = await world.propose(2, side="SELL", size=D(1))
    async with world.orchestrator(review_budget_per_bar=2), world.orchestrator(review_budget_per_bar=2):
        await world.until_ended(*exits)

        async def budget_used() -> bool:
            rows = await world.rows()
            waits = [row for row in rows.values() if row["wait_for_market"] is not None]
            return len(waits) == 5 and sum(row["state"] == "EXECUTED" for row in rows.values()) == 4

        await eventually(budget_used)
        assert len(stages_reviewed(world)) == 2
        await world.watermark("market", AS_OF + HOUR)
        rows = await world.until_ended(*short)
        assert rows[short[0]]["state"] == "EXPIRED"

        async def next_two() -> bool:
            return len(stages_reviewed(world)) == 4

        await eventually(next_two)
        await world.watermark("market", AS_OF + 2 * HOUR)
        rows = await world.until_ended()
    assert {rows[item]["state"] for item in items} == {"EXECUTED"}
    await world.check_once()


def stages_reviewed(world: World) -> set[str]:
    return set(world.stages.validator.asked)
