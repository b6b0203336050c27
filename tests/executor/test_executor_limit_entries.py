"""Entries with a limit at a simulated exchange: they rest, fill in part or whole, and end with their life, a halt or an exit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
import pytest

from tests.executor.issuer import Issuer, Running, assert_ledger_holds, at_exchange, recommend, running
from tests.executor.selling import without_ticket
from tests.executor.switching import Postmaster, turn
from tests.executor.venue import FaultProxy, Simulator
from tests.meshkit.hanging import hanging
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb

D = Decimal
DAY = 86_400
# Seconds: a busy machine must have sent an order well before its life is over.
SHORT_LIFE = 10
OPEN, CANCELLED, FILLED = pb.ORDER_STATE_OPEN, pb.ORDER_STATE_CANCELLED, pb.ORDER_STATE_FILLED


@pytest.fixture
def limited(environ: dict[str, str]) -> dict[str, str]:
    """Entries rest at the bid; the executor looks at them often."""
    return {**environ, "ENTRY_ORDER": "limit", "PROTECTION_POLL_SECONDS": "0.2"}


@pytest.fixture
def far(limited: dict[str, str]) -> dict[str, str]:
    """Entries rest where the market does not come to in a while."""
    return {**limited, "ENTRY_OFFSET_RATIO": "0.2"}


@asynccontextmanager
async def operated(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A running executor that leaves nothing on the shared account: neither orders nor coins."""
    async with running(environ) as executor:
        yield executor
        await executor.stub.CancelOrders(pb.CancelOrdersRequest(request_id=str(uuid4()), note="end"), timeout=30)
        await executor.stub.ClosePositions(pb.ClosePositionsRequest(request_id=str(uuid4()), note="end"), timeout=60)


async def entered(executor: Running, issuer: Issuer, life_seconds: float = DAY) -> pb.Order:
    return await executor.execute(await issuer.request(recommend(Side.BUY, "100.00", life_seconds=life_seconds)))


async def ended(executor: Running, order_id: str) -> pb.Order:
    return await executor.until(order_id, FILLED, CANCELLED, pb.ORDER_STATE_REJECTED)


async def later(simulator: Simulator, executor: Running, order_id: str) -> pb.Order:
    """The market goes on, hour by hour, until the exchange has done with the order."""
    for _ in range(200):
        await simulator.go_on(hours=1)
        (found,) = await at_exchange(simulator, order_id)
        if found.terminal:
            return await ended(executor, order_id)
    raise AssertionError("200 hours and nothing happened")


def codes(order: pb.Order) -> list[str]:
    return [reason.code for reason in order.reasons]


async def test_an_entry_rests_at_the_bid_and_is_filled_as_a_maker(
    limited: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(limited) as executor:
        request = await issuer.request(recommend(Side.BUY, "100.00", life_seconds=30 * DAY))
        order = await executor.execute(request)
        assert (order.state, order.order_type, order.filled_size.value) == (OPEN, pb.ORDER_TYPE_LIMIT, "0")
        (found,) = await at_exchange(simulator, order.order_id)
        terms = found.configuration["limit_limit_gtd"]
        assert (terms["limit_price"], terms["base_size"]) == (order.limit_price.value, order.base_size.value)
        assert terms["post_only"] is False
        # The same request finds it again, and what rests shows as such.
        assert (await executor.execute(request)).order_id == order.order_id
        told = await executor.stub.ProtectPositions(pb.ProtectPositionsRequest(request_id=str(uuid4())), timeout=30)
        assert [one.order_id for one in told.resting_entries] == [order.order_id]
        filled = await later(simulator, executor, order.order_id)
        assert (filled.state, filled.filled_size.value) == (FILLED, order.base_size.value)
        assert {fill.liquidity for fill in filled.fills} == {"MAKER"}
        assert D(filled.average_price.value) <= D(order.limit_price.value)
        assert D(filled.filled_value.value) + D(filled.total_fees.value) <= D("100.00")
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_the_exchange_ends_what_rests_when_its_life_is_over(
    far: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    async with operated({**far, "ENTRY_ORDER": "POST_ONLY"}) as executor:
        order = await entered(executor, issuer, life_seconds=3600)
        (found,) = await at_exchange(simulator, order.order_id)
        assert found.configuration["limit_limit_gtd"]["post_only"] is True
        over = await later(simulator, executor, order.order_id)
        assert (over.state, codes(over)) == (CANCELLED, ["LIFE_OVER", "NOTHING_FILLED"])


async def test_an_entry_ends_with_its_life_though_the_exchange_keeps_it(
    far: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    # The simulated market stands still, so it never comes to the end that the order names.
    async with operated(far) as executor:
        order = await entered(executor, issuer, life_seconds=SHORT_LIFE)
        assert order.state == OPEN
        over = await ended(executor, order.order_id)
        assert (over.state, codes(over)) == (CANCELLED, ["LIFE_OVER", "NOTHING_FILLED"])
        (found,) = await at_exchange(simulator, order.order_id)
        assert found.status == "CANCELLED"


async def test_a_life_that_ended_while_no_executor_ran_ends_the_entry_at_the_next_start(
    far: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    async with running(far) as executor:
        order = await entered(executor, issuer, life_seconds=SHORT_LIFE)
        assert order.state == OPEN
    await asyncio.sleep(SHORT_LIFE)
    async with operated(far) as executor:
        over = await ended(executor, order.order_id)
        assert (over.state, codes(over)) == (CANCELLED, ["LIFE_OVER", "NOTHING_FILLED"])


async def test_a_halt_ends_what_rests_to_buy(far: dict[str, str], issuer: Issuer) -> None:
    async with operated({**far, "PROTECTION_POLL_SECONDS": "60"}) as executor:
        order = await entered(executor, issuer)
        assert order.state == OPEN
        await executor.stub.SetTradingState(turn("REDUCING"), timeout=10)
        over = await ended(executor, order.order_id)
        assert (over.state, codes(over)) == (CANCELLED, ["KILL_SWITCH", "NOTHING_FILLED"])


async def test_a_halt_without_a_database_ends_it_at_the_exchange(
    far: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any, tmp_path: Any
) -> None:
    halting = {**far, "HALT_FILE": str(tmp_path / "halt.json"), "DB_TIMEOUT_SECONDS": "1"}
    async with operated(halting) as executor:
        order = await entered(executor, issuer)
        assert order.state == OPEN
        with hanging(Postmaster(database.host)):
            assert not (await executor.stub.SetTradingState(turn("HALTED"), timeout=30)).stored
            async with asyncio.timeout(60):
                while (await at_exchange(simulator, order.order_id))[0].status != "CANCELLED":
                    await asyncio.sleep(0.1)
        over = await ended(executor, order.order_id)
        assert over.state == CANCELLED
        await executor.stub.SetTradingState(turn("ACTIVE"), timeout=10)


async def test_what_was_filled_in_part_is_protected_while_the_rest_still_rests(
    limited: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    crossing = {**limited, "ENTRY_OFFSET_RATIO": "-0.02", "PROTECTIVE_EXITS": "BRACKET", "RECONCILE_SECONDS": "60"}
    await simulator.control("habits", fill_share=0.4)
    try:
        async with operated(crossing) as executor:
            order = await entered(executor, issuer)
            assert order.state == OPEN and 0 < D(order.filled_size.value) < D(order.base_size.value)
            assert {fill.liquidity for fill in order.fills} == {"TAKER"}
            async with asyncio.timeout(60):
                while True:
                    listed = (await executor.stub.ListPositions(pb.ListPositionsRequest(), timeout=10)).positions
                    if listed and listed[0].orders and listed[0].orders[0].state == OPEN:
                        break
                    await asyncio.sleep(0.05)
            assert listed[0].orders[0].left_size.value == order.filled_size.value
            assert (await executor.stub.GetOrder(pb.GetOrderRequest(order_id=order.order_id))).order.state == OPEN
            stop = pb.CancelOrdersRequest(request_id=str(uuid4()), note="stop")
            outcomes = (await executor.stub.CancelOrders(stop, timeout=30)).outcomes
            assert {one.result for one in outcomes} == {pb.CANCEL_RESULT_CANCELLED}
            over = await ended(executor, order.order_id)
            assert (over.state, codes(over)) == (CANCELLED, ["CANCELLED_BY_OPERATOR", "PARTLY_FILLED"])
            assert over.filled_size == order.filled_size
            assert (await executor.reconcile()).clean
    finally:
        await simulator.control("habits", fill_share=1.0)
    await assert_ledger_holds(database)


async def test_an_exit_ends_what_rests_to_buy_and_sells_what_was_bought(
    limited: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    await simulator.control("habits", fill_share=0.5)
    try:
        async with operated({**limited, "ENTRY_OFFSET_RATIO": "-0.02"}) as executor:
            order = await entered(executor, issuer)
            assert order.state == OPEN
            await simulator.control("habits", fill_share=1.0)
            sold = await executor.execute(
                await without_ticket(issuer, recommend(Side.SELL, order.base_size.value, life_seconds=DAY))
            )
            assert (sold.state, sold.filled_size) == (FILLED, order.filled_size)
            over = await ended(executor, order.order_id)
            assert (over.state, codes(over)) == (CANCELLED, ["EXIT_DECIDED", "PARTLY_FILLED"])
    finally:
        await simulator.control("habits", fill_share=1.0)
    await assert_ledger_holds(database)


@pytest.mark.parametrize("fault", ["accept_drop", "drop_before", "accept_500", "duplicate"])
async def test_a_send_in_doubt_makes_one_entry_that_rests(
    far: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, fault: str
) -> None:
    async with operated(far) as executor:
        proxy.plan.append(fault)
        order = await entered(executor, issuer)
        order = await executor.until(order.order_id, OPEN)
        assert len(await at_exchange(simulator, order.order_id)) == 1


async def test_a_fill_that_races_the_cancel_is_kept(
    limited: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    await simulator.control("habits", cancel_seconds=30)
    try:
        async with operated(limited) as executor:
            order = await entered(executor, issuer, life_seconds=30 * DAY)
            assert order.state == OPEN
            asked = asyncio.ensure_future(
                executor.stub.CancelOrders(pb.CancelOrdersRequest(request_id=str(uuid4()), note="stop"), timeout=60)
            )
            async with asyncio.timeout(120):
                while (await at_exchange(simulator, order.order_id))[0].status != "CANCEL_QUEUED":
                    await asyncio.sleep(0.02)
            filled = await later(simulator, executor, order.order_id)
            assert (filled.state, filled.filled_size.value) == (FILLED, order.base_size.value)
            # Neither this cancel nor another one calls it cancelled.
            (outcome,) = (await asked).outcomes
            assert outcome.result in (pb.CANCEL_RESULT_ALREADY_DONE, pb.CANCEL_RESULT_STILL_OPEN)
            again = await executor.stub.CancelOrders(
                pb.CancelOrdersRequest(request_id=str(uuid4()), note="stop"), timeout=60
            )
            assert list(again.outcomes) == []
    finally:
        await simulator.control("habits", cancel_seconds=0)
    await assert_ledger_holds(database)


async def test_one_of_two_that_rest_is_cancelled_by_its_id(
    far: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    def cancel(order_id: str) -> pb.CancelOrdersRequest:
        return pb.CancelOrdersRequest(request_id=str(uuid4()), note="this one", order_id=order_id)

    async with operated(far) as executor:
        first, second = [await entered(executor, issuer, life_seconds=30 * DAY) for _ in range(2)]
        assert {first.state, second.state} == {OPEN}
        receipt = await executor.stub.CancelOrders(cancel(first.order_id), timeout=30)
        assert [(one.result, one.order.order_id) for one in receipt.outcomes] == [
            (pb.CANCEL_RESULT_CANCELLED, first.order_id)
        ]
        assert "CANCELLED_BY_OPERATOR" in codes(await ended(executor, first.order_id))
        states = {one.order_id: (await at_exchange(simulator, one.order_id))[0].terminal for one in (first, second)}
        assert states == {first.order_id: True, second.order_id: False}
        assert not (await executor.stub.CancelOrders(cancel(first.order_id), timeout=30)).outcomes
        for wrong, code in ((str(uuid4()), grpc.StatusCode.NOT_FOUND), ("no id", grpc.StatusCode.INVALID_ARGUMENT)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await executor.stub.CancelOrders(cancel(wrong), timeout=30)
            assert refused.value.code() is code
    await assert_ledger_holds(database)
