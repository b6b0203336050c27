"""An exchange that settles long after an order is done: what the order left is sold at once, and what is told of it is so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.executor.issuer import Issuer, Running, assert_ledger_holds, at_exchange
from tests.executor.protecting import done, operated, rests, there
from tests.executor.selling import bought
from tests.executor.switching import turn
from tests.executor.venue import FaultProxy, Simulator
from trading.executor.v1 import executor_service_pb2 as pb

D = Decimal


@pytest.fixture
async def slow(environ: dict[str, str], simulator: Simulator) -> AsyncIterator[dict[str, str]]:
    """An executor that protects by brackets, at an exchange where everything settles a minute after its end."""
    await simulator.control("habits", settle_seconds=60)
    try:
        yield {**environ, "PROTECTIVE_EXITS": "BRACKET", "RECONCILE_SECONDS": "60"}
    finally:
        await simulator.control("habits", settle_seconds=0, fill_share=1.0)


async def close(executor: Running, seconds: float = 60) -> pb.CloseOutcome:
    request = pb.ClosePositionsRequest(request_id=str(uuid4()), note="out")
    (outcome,) = (await executor.stub.ClosePositions(request, timeout=seconds)).outcomes
    return outcome


async def assert_agrees(executor: Running, database: Any) -> None:
    assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_a_close_of_what_a_bracket_protects_sells_at_once(
    slow: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(slow) as executor:
        held = (await bought(executor, issuer)).filled_size.value
        bracket = await rests(executor)
        began = time.monotonic()
        outcome = await close(executor)
        assert time.monotonic() - began < 10
        assert not outcome.reasons, outcome.reasons
        assert (outcome.order.state, outcome.order.filled_size.value) == (pb.ORDER_STATE_FILLED, held)
        assert outcome.remaining_size.value == "0"
        withdrawn = await there(simulator, bracket.order_id)
        assert (withdrawn.status, withdrawn.settled) == ("CANCELLED", False), "it was sold before the exchange settled"
        await assert_agrees(executor, database)


async def test_closes_that_sell_in_parts_sell_all_of_it_and_no_more(
    slow: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(slow) as executor:
        held = D((await bought(executor, issuer)).filled_size.value)
        await rests(executor)
        await simulator.control("habits", fill_share=0.5)
        first = await close(executor)
        sold = D(first.order.filled_size.value)
        assert 0 < sold < held
        assert (first.order.state, D(first.remaining_size.value)) == (pb.ORDER_STATE_CANCELLED, held - sold)
        await simulator.control("habits", fill_share=1.0)
        second = await close(executor)
        assert D(second.order.filled_size.value) == held - sold
        assert second.remaining_size.value == "0"
        assert not second.reasons
        for one in (first, second):
            assert not (await there(simulator, one.order.order_id)).settled
        await assert_agrees(executor, database)


async def test_what_is_told_of_a_cancel_and_a_halt_is_what_the_exchange_has(
    slow: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    """As `mesh halt --flatten` asks: exits alone, cancel, close, halt."""
    async with operated(slow) as executor:
        held = (await bought(executor, issuer)).filled_size.value
        bracket = await rests(executor)
        await executor.stub.SetTradingState(turn("REDUCING"))
        cancel = pb.CancelOrdersRequest(request_id=str(uuid4()), note="out")
        (cancelled,) = (await executor.stub.CancelOrders(cancel, timeout=30)).outcomes
        assert (cancelled.result, cancelled.detail) == (pb.CANCEL_RESULT_CANCELLED, "")
        assert cancelled.order.order_id == bracket.order_id
        assert (await there(simulator, bracket.order_id)).status == "CANCELLED"
        outcome = await close(executor)
        assert (outcome.order.filled_size.value, outcome.remaining_size.value) == (held, "0")
        halted = await executor.stub.SetTradingState(turn("HALTED"))
        assert not halted.open_order_ids
        assert not halted.unresolved_order_ids
        await assert_agrees(executor, database)
        await executor.stub.SetTradingState(turn("ACTIVE"))


async def test_what_is_filled_and_not_listed_yet_is_neither_sold_again_nor_booked_twice(
    slow: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    async with operated(slow) as executor:
        held = D((await bought(executor, issuer)).filled_size.value)
        await rests(executor)
        await simulator.control("habits", fill_share=0.5)
        proxy.hide_fills = True
        first = await close(executor, seconds=4)
        theirs = await there(simulator, first.order.order_id)
        assert (theirs.status, theirs.settled) == ("CANCELLED", False)
        assert 0 < theirs.filled_size < held
        assert (first.order.state, D(first.order.filled_size.value)) == (pb.ORDER_STATE_OPEN, 0)
        cancel = pb.CancelOrdersRequest(request_id=str(uuid4()), note="out", order_id=first.order.order_id)
        (cancelled,) = (await executor.stub.CancelOrders(cancel, timeout=30)).outcomes
        assert (cancelled.result, cancelled.detail) == (pb.CANCEL_RESULT_CANCELLED, "")
        halted = await executor.stub.SetTradingState(turn("HALTED"))
        assert first.order.order_id not in halted.open_order_ids
        await executor.stub.SetTradingState(turn("ACTIVE"))
        # What is left is free, and no more of it: also not what the exchange has free of somebody else's.
        await simulator.control("habits", fill_share=1.0)
        second = await close(executor, seconds=4)
        assert D(second.order.base_size.value) == held - theirs.filled_size
        proxy.hide_fills = False
        first_ended, second_ended = [await done(executor, one.order.order_id) for one in (first, second)]
        assert D(first_ended.filled_size.value) == theirs.filled_size
        assert D(second_ended.filled_size.value) == held - theirs.filled_size
        listed = await executor.stub.ListPositions(pb.ListPositionsRequest())
        assert [one.base_size.value for one in listed.positions] == ["0"]
        await assert_agrees(executor, database)


async def test_the_newest_change_of_an_order_stays_when_it_settles(
    slow: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    """What was sold since is newer: a bracket that ended for its time must not be sold once more."""
    async with operated(slow) as executor:
        await bought(executor, issuer)
        bracket = await rests(executor)
        outcome = await close(executor)
        before = {one.order_id: one for one in (await executor.stub.ListOrders(pb.ListOrdersRequest())).orders}
        await simulator.control("habits", settle_seconds=0)
        assert (await executor.reconcile()).clean
        for order_id in (bracket.order_id, outcome.order.order_id):
            after = await executor.stub.GetOrder(pb.GetOrderRequest(order_id=order_id))
            assert after.order.update_time == before[order_id].update_time
            assert len(await at_exchange(simulator, order_id)) == 1
