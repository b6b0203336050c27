"""Exits wait for nobody but the executor, every wait ends with a reason, and no end contradicts an order."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from refusals import refused
from sqlalchemy import func, text
from waiting import eventually

from meshkit.errors import DeadlineTooShort, FailedPrecondition, MeshError
from tests.orchestrator.orchestrator_world import TERMINAL, World
from tests.orchestrator.stand_ins import unavailable
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb

D = Decimal


async def forever(_: Any) -> None:
    await asyncio.Event().wait()


def codes(row: Any) -> list[str]:
    return [reason["code"] for reason in row["reasons"]]


async def reasons_of(world: World, item: str, state: str) -> list[str]:
    query = (
        "SELECT reasons FROM recommendation_events WHERE recommendation_id = CAST(:item AS uuid) AND to_state = :state"
    )
    (row,) = await world.run(text(query), {"item": item, "state": state})
    return codes(row)


def failing(reason: str) -> Callable[[Any], Any]:
    async def fail(_: Any) -> None:
        raise FailedPrecondition(reason, "for this test")

    return fail


@pytest.mark.parametrize("fault", ["silent", "gone", "confused", "refuses"])
async def test_an_exit_goes_without_the_word_of_risk_and_an_entry_does_not(world: World, fault: str) -> None:
    """The risk engine stands still, breaks its stream, answers outside its contract, or refuses for what is no obstacle."""
    risk = world.stages.risk

    async def gone(_: Any) -> None:
        raise unavailable()

    if fault == "confused":
        risk.change = lambda found: setattr(found, "recommendation_id", str(uuid4()))
    elif fault == "refuses":
        risk.decisions = {f"C{number:03d}-USD": (3, "0") for number in range(2)}
    else:
        risk.before = forever if fault == "silent" else gone
    (exit_,) = await world.propose(1, side="SELL", size=D("0.5"))
    (entry,) = await world.propose()
    async with world.orchestrator():
        rows = await world.until_ended(exit_)
        assert rows[exit_]["state"] == "EXECUTED"
        assert rows[exit_]["adjusted_size"] is None
        if fault in ("confused", "refuses"):
            rows = await world.until_ended(entry)
            assert rows[entry]["state"] == "REJECTED"
        assert entry not in world.stages.executor.executed
    assert world.stages.executor.without_ticket == [exit_]
    first = "PORTFOLIO_HEAT" if fault == "refuses" else "RISK_UNANSWERED"
    assert (await reasons_of(world, exit_, "EXECUTING"))[0] == first
    await world.check_once()


@pytest.mark.parametrize("reason", ["TICKET_REFUSED", "RESERVATION_LOST"])
async def test_a_refused_ticket_keeps_no_exit(world: World, reason: str) -> None:
    async def refuse(request: Any) -> None:
        if request.ticket:
            await failing(reason)(request)

    world.stages.executor.before = refuse
    (exit_,) = await world.propose(1, side="SELL", size=D("0.5"))
    async with world.orchestrator():
        assert (await world.until_ended(exit_))[exit_]["state"] == "EXECUTED"


async def test_an_exit_may_be_enlarged_to_the_whole_and_an_entry_not(world: World) -> None:
    (exit_,) = await world.propose(1, side="SELL", size=D("9.09"))
    world.stages.risk.decisions = {"C000-USD": (1, "9.09239129")}
    async with world.orchestrator():
        row = (await world.until_ended(exit_))[exit_]
    assert (row["state"], row["adjusted_size"]) == ("EXECUTED", D("9.09239129"))
    assert world.stages.executor.without_ticket == []


@pytest.mark.parametrize(("reason", "end"), [("NOT_HELD", ["NOT_HELD"]), ("TRADING_HALTED", ["KILL_SWITCH"])])
async def test_the_executor_ends_an_exit_that_cannot_be(world: World, reason: str, end: list[str]) -> None:
    world.stages.executor.before = failing(reason)
    (exit_,) = await world.propose(1, side="SELL", size=D("0.5"))
    async with world.orchestrator():
        row = (await world.until_ended(exit_))[exit_]
    assert (row["state"], row["decided_by"], codes(row)) == ("REJECTED", "executor", end)


@pytest.mark.parametrize("reason", ["NOTHING_AVAILABLE", "REQUEST_ID_REUSED", "TERMS_DIFFER"])
async def test_a_waiting_exit_says_why_and_is_given_up_after_a_day(world: World, reason: str) -> None:
    world.stages.executor.before = failing(reason)
    (exit_,) = await world.propose(1, side="SELL", size=D("0.5"))
    async with world.orchestrator():

        async def waits() -> bool:
            row = (await world.rows())[exit_]
            return row["delays"] >= 2 and row["delay_reason"]["code"] == reason and row["delayed_since"] is not None

        await eventually(waits)
        assert (await world.rows())[exit_]["state"] == "EXECUTING"
        await world.change(exit_, delayed_since=func.clock_timestamp() - timedelta(days=1), not_before=None)
        row = (await world.until_ended(exit_))[exit_]
    assert (row["state"], row["decided_by"]) == ("FAILED", "orchestrator")
    assert codes(row) == ["RETRIES_EXHAUSTED", reason]
    await world.check_once()


async def test_a_refused_exit_keeps_its_delays_while_orders_change(world: World) -> None:
    """Each try withdraws what protects the position and has it made anew: both are news of orders, and wake nobody."""
    asked: list[float] = []

    async def withdraw_and_refuse(request: Any) -> None:
        asked.append(time.monotonic())
        await world.notify_orders()
        await failing("NOTHING_AVAILABLE")(request)

    world.stages.executor.before = withdraw_and_refuse
    await world.propose(1, side="SELL", size=D("0.5"))
    async with world.orchestrator():
        await eventually(lambda: len(asked) >= 4)
    waited = [later - earlier for earlier, later in pairwise(asked)]
    assert [found >= least for found, least in zip(waited, (0.25, 0.5, 1.0), strict=False)] == [True] * 3, waited


async def test_one_that_waits_for_its_order_is_woken_by_news_of_orders(world: World) -> None:
    world.stages.executor.states = {"C000-USD": 3}
    (exit_,) = await world.propose(1, side="SELL", size=D("0.5"))
    put_off = text(
        "UPDATE trade_recommendations SET not_before = now() + interval '1 hour' "
        "WHERE not_before IS NOT NULL AND lease_owner IS NULL RETURNING 1"
    )
    async with world.orchestrator():
        await eventually(lambda: world.run(put_off))
        world.stages.executor.settle()
        # Again and again: the first may come before the orchestrator knows that anybody waits.
        row = await eventually(lambda: ended_after(world, exit_))
    assert row["state"] == "EXECUTED"


async def ended_after(world: World, item: str) -> Any:
    """The row if it has ended; else there is news of orders."""
    row = (await world.rows())[item]
    if row["state"] in TERMINAL:
        return row
    await world.notify_orders()
    return None


async def test_no_end_contradicts_an_order(world: World) -> None:
    """Whatever a stage decides, an order that was written down goes first; one that is open keeps its item."""
    filled, failed, open_ = await world.propose(3)
    await world.write_order(filled, "FILLED", "0.01")
    await world.write_order(failed, "REJECTED")
    await world.write_order(open_, "UNKNOWN")
    world.stages.risk.decisions = {f"C{number:03d}-USD": (3, "0") for number in range(3)}
    async with world.orchestrator():
        rows = await world.until_ended(filled, failed)

        async def waits() -> bool:
            row = (await world.rows())[open_]
            return row["delay_reason"] is not None and row["delay_reason"]["code"] == "ORDER_UNKNOWN"

        await eventually(waits)
    assert [rows[item]["state"] for item in (filled, failed)] == ["EXECUTED", "FAILED"]
    assert {rows[item]["decided_by"] for item in (filled, failed)} == {"exchange"}
    assert (await world.rows())[open_]["state"] not in TERMINAL


async def test_an_order_that_turns_up_later_corrects_the_end(world: World) -> None:
    world.stages.executor.states = {"C000-USD": 6}
    (item,) = await world.propose()
    async with world.orchestrator():
        assert (await world.until_ended(item))[item]["state"] == "FAILED"
        await world.write_order(item, "FILLED", "0.01")
        await world.until_state(item, "EXECUTED")
    row = (await world.rows())[item]
    assert (row["decided_by"], codes(row)) == ("exchange", ["ORDER_ADOPTED"])
    assert (await world.histories())[item][-2:] == ["FAILED", "EXECUTED"]


# ---- an operator's cancel --------------------------------------------------------------------------------------------


def cancel(item: str, **changes: Any) -> pb.CancelRecommendationRequest:
    values = {"request_id": str(uuid4()), "recommendation_id": item, "note": "not now", **changes}
    return pb.CancelRecommendationRequest(**values)


async def test_what_has_no_order_is_cancelled_at_its_next_step(world: World) -> None:
    """One that waits ends at once; one that a stage is being asked about goes no further than the answer."""
    stages, held = world.stages, asyncio.Event()

    async def hold(_: Any) -> None:
        await held.wait()

    stages.executor.before = failing("NOTHING_AVAILABLE")
    stages.risk.before = hold
    (waiting,) = await world.propose(1, side="SELL", size=D(1))
    (asked,) = await world.propose()
    async with world.orchestrator() as stub:
        await world.until_state(waiting, "EXECUTING")
        await world.until_state(asked, "IN_REVIEW")
        request = cancel(waiting)
        answer = await stub.CancelRecommendation(request)
        assert answer.result == pb.CANCEL_RECOMMENDATION_RESULT_CANCELLED
        rows = await world.until_ended(waiting)
        assert await stub.CancelRecommendation(request) == answer
        await stub.CancelRecommendation(cancel(asked))
        held.set()
        rows = await world.until_ended()
        ended = await stub.CancelRecommendation(cancel(asked))
        assert ended.result == pb.CANCEL_RECOMMENDATION_RESULT_ALREADY_ENDED
        for item in (waiting, asked):
            assert (rows[item]["state"], rows[item]["decided_by"]) == ("REJECTED", "operator")
            assert codes(rows[item]) == ["CANCELLED_BY_OPERATOR"]
            assert rows[item]["reasons"][0]["observed"] == "not now"
        for wrong, reason in (
            (cancel(str(uuid4())), "NOT_FOUND"),
            (cancel("no id", note=""), "INVALID_REQUEST"),
            (cancel(asked, request_id=request.request_id), "REQUEST_ID_REUSED"),
        ):
            error: MeshError = await refused(stub.CancelRecommendation(wrong))
            assert error.reason == reason
    assert stages.executor.created == []
    await world.check_once()


@pytest.mark.parametrize("stage", ["risk", "executor"])
async def test_an_entry_that_a_stage_calls_expired_as_it_was_cancelled_ends_by_the_operator(
    world: World, stage: str
) -> None:
    held, reached = asyncio.Event(), asyncio.Event()

    async def expired(_: Any) -> None:
        reached.set()
        await held.wait()
        raise DeadlineTooShort("the recommendation has ended", reason="EXPIRED")

    (world.stages.risk if stage == "risk" else world.stages.executor).before = expired
    (entry,) = await world.propose()
    async with world.orchestrator() as stub:
        await reached.wait()
        await stub.CancelRecommendation(cancel(entry))
        held.set()
        row = (await world.until_ended(entry))[entry]
    assert (row["state"], row["decided_by"], codes(row)) == ("REJECTED", "operator", ["CANCELLED_BY_OPERATOR"])
    assert row["reasons"][0]["observed"] == "not now"
    await world.check_once()


async def test_an_order_that_is_written_down_goes_on(world: World) -> None:
    world.stages.executor.states = {"C000-USD": 3}
    (item,) = await world.propose()
    async with world.orchestrator() as stub:
        await world.until_state(item, "EXECUTING")
        await world.write_order(item, "OPEN")
        answer = await stub.CancelRecommendation(cancel(item))
        assert answer.result == pb.CANCEL_RECOMMENDATION_RESULT_ORDER_GOES_ON
        assert answer.order_id
        assert (await world.rows())[item]["cancel_requested_at"] is None
