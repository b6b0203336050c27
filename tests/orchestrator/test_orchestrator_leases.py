"""Several orchestrators, killed ones, lost leases and defects: what is claimed comes to one end all the same."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from waiting import eventually

from svc_orchestrator import claim_store, workers
from svc_orchestrator.claim_store import ClaimedRow
from svc_orchestrator.processor import RecommendationProcessor
from tests.orchestrator.orchestrator_world import HOUR, World
from tests.orchestrator.stand_ins import AS_OF, first_time_only

D = Decimal
GONE = datetime(2020, 1, 1, tzinfo=UTC)


async def test_another_resumes_what_a_killed_one_left(world: World) -> None:
    """Killed at each stage with its leases in its hands: after the lease the next one finds the stages' stored answers."""
    stages = world.stages
    held = asyncio.Event()

    async def hold(_: Any) -> None:
        await held.wait()

    items = await world.propose(3)
    stages.validator.before = hold
    async with world.orchestrator(kill=True):
        await world.until_state(items[0], "IN_REVIEW")
    stages.validator.before, stages.risk.before = None, hold
    async with world.orchestrator(kill=True):

        async def reached_risk() -> bool:
            return set(stages.risk.asked) == set(items)

        await eventually(reached_risk)
    stages.risk.before, stages.executor.after = None, hold
    async with world.orchestrator(kill=True):

        async def ordered() -> bool:
            return len(stages.executor.created) == 3

        await eventually(ordered)
    assert {row["state"] for row in (await world.rows()).values()} == {"EXECUTING"}
    held.set()
    async with world.orchestrator():
        rows = await world.until_ended()
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    await world.check_once()


async def test_one_that_drains_gives_its_items_back_at_once(world: World) -> None:
    held = asyncio.Event()

    async def hold(_: Any) -> None:
        await held.wait()

    world.stages.risk.before = hold
    items = await world.propose(2)
    async with world.orchestrator(lease_seconds=300):
        await world.until_state(items[0], "IN_REVIEW")
    held.set()
    async with world.orchestrator(lease_seconds=300):
        rows = await world.until_ended()
    assert {row["state"] for row in rows.values()} == {"EXECUTED"}
    await world.check_once()


async def test_two_orchestrators_lead_a_hundred_to_one_end_each(world: World) -> None:
    stages = world.stages
    items = await world.propose(70)
    items += await world.propose(30, side="SELL", size=D(1))
    stages.executor.after = first_time_only(set(items[::7]))
    stages.risk.decisions = {f"C{number:03d}-USD": (3, "0") for number in range(0, 70, 7)}
    stages.validator.drops = [20, 20]
    async with world.orchestrator(), world.orchestrator():
        rows = await world.until_ended()
    states = Counter(row["state"] for row in rows.values())
    assert states == {"EXECUTED": 90, "REJECTED": 10}
    await world.check_once()
    assert len(stages.executor.created) == 90


async def test_a_lease_that_ran_out_in_its_own_process_is_not_led_twice(world: World) -> None:
    """After an outage longer than a lease the item looks free to the process that still works on it."""
    held = asyncio.Event()
    stages = world.stages

    async def hold(_: Any) -> None:
        await held.wait()

    stages.risk.before = hold
    (item,) = await world.propose()
    async with world.orchestrator(lease_seconds=30) as stub:
        await world.until_state(item, "IN_REVIEW")
        await world.steal()
        (other,) = await world.propose()
        await world.until_state(other, "IN_REVIEW")
        await asyncio.sleep(1.2)
        assert stages.risk.asked.count(item) == 1
        held.set()
        await world.until_ended()
        assert not stub.service.stopped
    await world.check_once()


async def test_an_item_that_another_took_over_is_let_go(world: World) -> None:
    held = asyncio.Event()
    stages = world.stages

    async def hold(_: Any) -> None:
        await held.wait()

    stages.risk.before = hold
    (item,) = await world.propose()
    async with world.orchestrator(lease_seconds=2):
        await world.until_state(item, "IN_REVIEW")
        await world.run(_taken_by_another())
        held.set()
        await asyncio.sleep(1.0)
        assert (await world.rows())[item]["state"] == "IN_REVIEW"
        await world.run(_given_back())
        rows = await world.until_ended()
    assert rows[item]["state"] == "EXECUTED"
    await world.check_once()


def _taken_by_another() -> Any:
    return text(
        "UPDATE trade_recommendations SET lease_owner = 'another', "
        "lease_expires_at = clock_timestamp() + interval '1 hour'"
    )


def _given_back() -> Any:
    return text("UPDATE trade_recommendations SET lease_owner = NULL, lease_expires_at = NULL")


async def test_a_defect_met_by_one_item_stops_no_other(world: World) -> None:
    (broken,) = await world.propose(1, evidence={"signal_id": "no such thing"}, priority=1.0)
    good = await world.propose(3)
    async with world.orchestrator() as stub:
        rows = await world.until_ended(*good)
        assert {rows[item]["state"] for item in good} == {"EXECUTED"}
        await asyncio.sleep(0.3)
        row = (await world.rows())[broken]
        assert (row["state"], row["lease_owner"]) == ("PROPOSED", None)
        assert row["delay_reason"]["code"] == "INTERNAL"
        assert not stub.service.stopped
        await world.change(broken, expire_at=GONE, not_before=None)
        row = (await world.until_ended(broken))[broken]
        assert (row["state"], [reason["code"] for reason in row["reasons"]]) == (
            "FAILED",
            ["RETRIES_EXHAUSTED", "INTERNAL"],
        )


async def test_what_is_proposed_while_a_look_or_a_claim_is_on_its_way_is_not_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No poll comes to help: each notification that arrives beside a statement is worth a turn of its own."""
    monkeypatch.setattr(workers, "POLL_SECONDS", 3600.0)
    monkeypatch.setattr(workers, "IDLE_POLL_SECONDS", 3600.0)
    items: list[str] = []
    proposed = Counter[str]()

    def beside(name: str) -> Any:
        statement = getattr(claim_store, name)

        async def with_a_proposal(*given: Any) -> Any:
            found = await statement(*given)
            proposed[name] += 1
            if proposed[name] <= 2:
                items.extend(await world.propose())
                # Until the notification has been heard.
                await asyncio.sleep(0.5)
            return found

        return with_a_proposal

    for name in ("read_pulse", "claim"):
        monkeypatch.setattr(claim_store, name, beside(name))
    async with world.orchestrator():

        async def all_proposed() -> bool:
            return proposed["claim"] > 2

        await eventually(all_proposed)
        rows = await world.until_ended()
    assert {rows[item]["state"] for item in items} == {"EXECUTED"}


async def test_a_defect_of_one_that_another_took_over_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that cannot be processed is past its life, so it would be ended; by then its lease is another's."""
    process = RecommendationProcessor.process
    (broken,) = await world.propose(1, expire_at=GONE)

    async def taken_and_broken(self: RecommendationProcessor, row: ClaimedRow) -> bool:
        if str(row.recommendation_id) != broken:
            return await process(self, row)
        await world.run(_taken_by_another())
        raise ZeroDivisionError

    monkeypatch.setattr(RecommendationProcessor, "process", taken_and_broken)
    async with world.orchestrator() as stub:

        async def met() -> bool:
            return (await world.rows())[broken]["lease_owner"] == "another"

        await eventually(met)
        (good,) = await world.propose()
        rows = await world.until_ended(good)
        assert rows[good]["state"] == "EXECUTED"
        assert rows[broken]["state"] == "PROPOSED"
        assert not stub.service.stopped


async def test_in_lock_step_one_at_a_time_in_order_and_a_delayed_head_keeps_its_place(world: World) -> None:
    stages = world.stages
    life = {"life_clock": "MARKET", "expire_at": AS_OF + 9 * HOUR}
    await world.watermark("market", AS_OF + HOUR)
    later = await world.propose(1, as_of=AS_OF + HOUR, side="SELL", size=D(1), priority=1.0, **life)
    low = await world.propose(1, priority=0.1, **life)
    tie_b = await world.propose(1, priority=0.9, product_id="ZB-USD", **life)
    tie_a = await world.propose(1, priority=0.9, product_id="ZA-USD", **life)
    sell = await world.propose(1, side="SELL", size=D(1), priority=0.0, **life)
    stages.executor.before = first_time_only(set(sell + tie_a))
    async with world.orchestrator(venue="REPLAY"), world.orchestrator(venue="REPLAY"):
        await world.until_ended()
    assert [item for item, _ in stages.executor.created] == sell + tie_a + tie_b + low + later
    assert list(dict.fromkeys(stages.risk.asked)) == sell + tie_a + tie_b + low + later
    await world.check_once()
