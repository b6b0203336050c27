"""Positions protected at a simulated exchange: brackets that rest, stops that are kept here, exits that take their place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
import pytest
from refusals import refused
from sqlalchemy import insert, text

from exchange_client import ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from meshkit.errors import from_rpc_error
from schema.execution import ledger_adjustments
from svc_executor.protection_store import read_held
from tests.executor.issuer import Issuer, assert_ledger_holds, at_exchange, recommend, running
from tests.executor.protecting import NEAR, done, look, operated, rests, there
from tests.executor.selling import bought, without_ticket
from tests.executor.venue import FaultProxy, Simulator
from tradekit.exit_plan import ExitPlan
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb

D = Decimal


@pytest.fixture
def protecting(environ: dict[str, str]) -> dict[str, str]:
    """An executor's environment that looks by itself at what happens, and seldom on a schedule."""
    return {**environ, "PROTECTIVE_EXITS": "BRACKET", "RECONCILE_SECONDS": "60"}


async def test_what_was_bought_is_protected_by_a_bracket_that_survives_the_executor(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with running(protecting) as executor:
        entry = await bought(executor, issuer)
        order = await rests(executor)
        assert (order.order_type, order.side, order.entry_order_id) == (
            *(pb.ORDER_TYPE_BRACKET, entry.side + 1),
            entry.order_id,
        )
        assert order.base_size.value == entry.filled_size.value
        paid = D(entry.average_price.value)
        assert 0 <= paid * D("0.95") - D(order.stop_price.value) < D("0.01")
        assert 0 <= D(order.target_price.value) - paid * D("1.1") < D("0.01")
        (position,) = await look(executor)
        assert (position.protected_size.value, position.unprotected_size.value) == (entry.filled_size.value, "0")
        assert [one.order_id for one in position.orders] == [order.order_id]
    resting = await there(simulator, order.order_id)
    assert resting.status == "OPEN"
    assert resting.configuration == {
        "trigger_bracket_gtc": {
            "base_size": order.base_size.value,
            "limit_price": order.target_price.value,
            "stop_trigger_price": order.stop_price.value,
        }
    }
    # Another executor takes it up, and makes no second one.
    async with operated(protecting) as executor:
        for _ in range(2):
            (position,) = await look(executor)
            assert [one.order_id for one in position.orders] == [order.order_id]
    assert (await there(simulator, order.order_id)).status == "CANCELLED"
    await assert_ledger_holds(database)


async def test_an_entry_is_protected_by_the_plan_it_brings(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    async with operated(protecting) as executor:
        config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
        async with CoinbaseClient(config) as client:
            price = (await client.best_bids(["BTC-USD"]))["BTC-USD"]
        ends = datetime(2090, 1, 1, tzinfo=UTC)
        plan = ExitPlan(price * D("0.9123456"), price * D("1.2"), ends)
        item = replace(recommend(Side.BUY, "100.00"), exit_plan=plan)
        await executor.execute(await issuer.request(item))
        order = await rests(executor)
        assert 0 <= plan.stop_price - D(order.stop_price.value) < D("0.01")
        assert 0 <= D(order.target_price.value) - plan.target_price < D("0.01")
        assert order.exit_time.ToDatetime(UTC) == ends


async def test_coins_that_come_in_do_not_make_an_entry_forgotten(
    protecting: dict[str, str], issuer: Issuer, database: Any
) -> None:
    """Those that join the position do: they were not bought at the entry's price."""

    async def adjust(kind: str, cost: str) -> None:
        values = {"kind": kind, "cost": D(cost), "amount": D(1), "currency": "BTC", "equity_change": D(0), "answer": {}}
        ids = {"adjustment_id": uuid4(), "request_id": uuid4(), "body_sha256": "", "note": "", "caller": "operator"}
        async with database.engine.begin() as connection:
            await connection.execute(insert(ledger_adjustments).values(**values, **ids))

    async def entry() -> str:
        async with database.engine.connect() as connection:
            (row,) = await read_held(connection, 3600, None, lambda _: False, with_high=False)
        return str(row.held.entry_order_id)

    async with operated(protecting) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
        await rests(executor)
        for kind in ("TRADE", "DEPOSIT", "REWARD"):
            await adjust(kind, "0")
            assert await entry() == order.order_id
        for kind, cost in (("DEPOSIT", "100"), ("ADOPTION", "0")):
            await adjust(kind, cost)
            assert await entry() == "None"
            item = recommend(Side.BUY, "100.00")
            order = await executor.execute(await issuer.request(item))
            assert await entry() == order.order_id


async def test_each_entry_is_left_at_its_own_time(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    """The older one is sold when its time has come, and not protected by the plan of the newer one for longer."""
    async with operated(protecting) as executor:
        config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
        async with CoinbaseClient(config) as client:
            price = (await client.best_bids(["BTC-USD"]))["BTC-USD"]
        bought_sizes = []
        for year in (2090, 2095):
            plan = ExitPlan(price * D("0.9"), price * D("1.2"), datetime(year, 1, 1, tzinfo=UTC))
            item = replace(recommend(Side.BUY, "100.00"), exit_plan=plan)
            bought_sizes.append((await executor.execute(await issuer.request(item))).filled_size.value)
            async with asyncio.timeout(60):
                while len((await look(executor))[0].orders) < len(bought_sizes):
                    await asyncio.sleep(0.05)
        async with database.engine.begin() as connection:
            await connection.execute(
                text("INSERT INTO watermarks (stage, as_of, sequence) VALUES ('market', '2090-01-01T00:00:00Z', 1)")
            )
        (position,) = await look(executor)
        assert (position.held_size.value, position.protected_size.value) == (bought_sizes[1], bought_sizes[1])
        assert [one.exit_time.ToDatetime(UTC).year for one in position.orders] == [2095]
        listed = (await executor.stub.ListOrders(pb.ListOrdersRequest())).orders
        sold = [
            one for one in listed if one.purpose == pb.ORDER_PURPOSE_PROTECTION and one.state == pb.ORDER_STATE_FILLED
        ]
        assert [(one.trigger, one.filled_size.value) for one in sold] == [(pb.EXIT_TRIGGER_TIME_LIMIT, bought_sizes[0])]
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_a_bracket_that_sold_is_booked_and_tells_why(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated({**protecting, **NEAR}) as executor:
        await bought(executor, issuer)
        order = await rests(executor)
        while (await there(simulator, order.order_id)).status == "OPEN":
            await simulator.go_on(hours=1)
        assert list(await look(executor)) == []
        sold = await done(executor, order.order_id)
        assert sold.state == pb.ORDER_STATE_FILLED
        rose = D(sold.average_price.value) >= D(order.target_price.value)
        assert sold.trigger == (pb.EXIT_TRIGGER_TARGET if rose else pb.EXIT_TRIGGER_STOP)
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_an_exit_takes_the_place_of_what_protected(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(protecting) as executor:
        entry = await bought(executor, issuer)
        first = await rests(executor)
        half = f"{D(entry.filled_size.value) / 2:.8f}"
        request = await without_ticket(issuer, recommend(Side.SELL, half))
        sold = await executor.execute(request)
        assert (sold.state, sold.filled_size.value) == (pb.ORDER_STATE_FILLED, f"{D(half).normalize():f}")
        assert (await done(executor, first.order_id)).state == pb.ORDER_STATE_CANCELLED
        again = await rests(executor)
        assert D(again.base_size.value) == D(entry.filled_size.value) - D(half)
        assert (again.stop_price, again.target_price) == (first.stop_price, first.target_price)
        # The same request again finds its order, and what protects the rest stays where it is.
        assert await executor.execute(request) == sold
        assert (await there(simulator, again.order_id)).status == "OPEN"
        rest = await executor.execute(await without_ticket(issuer, recommend(Side.SELL, entry.filled_size.value)))
        assert D(rest.filled_size.value) == D(again.base_size.value)
        assert await look(executor) == []
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_a_bracket_that_was_faster_leaves_nothing_to_sell(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated({**protecting, **NEAR}) as executor:
        entry = await bought(executor, issuer)
        order = await rests(executor)
        while (await there(simulator, order.order_id)).status == "OPEN":
            await simulator.go_on(hours=1)
        # Nobody has told the executor yet.
        late = await refused(
            executor.execute(await without_ticket(issuer, recommend(Side.SELL, entry.filled_size.value)))
        )
        assert late.reason == "NOT_HELD"
        assert (await done(executor, order.order_id)).filled_size == entry.filled_size
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_a_stop_that_is_kept_here_is_sent_when_its_price_comes(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    kept = {**protecting, **NEAR, "PROTECTIVE_EXITS": "SOFTWARE", "PROTECTION_POLL_SECONDS": "0.2"}
    async with operated(kept) as executor:
        entry = await bought(executor, issuer)
        order = await rests(executor, pb.ORDER_STATE_WAITING)
        assert (order.order_type, order.send_count) == (pb.ORDER_TYPE_MARKET, 0)
        assert await at_exchange(simulator, order.order_id) == []
        while order.state == pb.ORDER_STATE_WAITING:
            await simulator.go_on(hours=1)
            await look(executor)
            order = (await executor.stub.GetOrder(pb.GetOrderRequest(order_id=order.order_id))).order
        sold = await done(executor, order.order_id)
        assert (sold.state, sold.filled_size) == (pb.ORDER_STATE_FILLED, entry.filled_size)
        assert sold.trigger in (pb.EXIT_TRIGGER_STOP, pb.EXIT_TRIGGER_TARGET)
        assert len(await at_exchange(simulator, order.order_id)) == 1
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_halted_nothing_is_protected_nor_taken_away(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator
) -> None:
    async with operated(protecting) as executor:
        await bought(executor, issuer)
        order = await rests(executor)
        await executor.stub.SetTradingState(
            pb.SetTradingStateRequest(request_id=str(uuid4()), state="TRADING_STATE_HALTED", note="drill")
        )
        exit_ = executor.execute(await without_ticket(issuer, recommend(Side.SELL, "0.0001")))
        assert (await refused(exit_)).reason == "TRADING_HALTED"
        assert (await there(simulator, order.order_id)).status == "OPEN"
        # An operator may end it; nothing takes its place before trading goes on.
        receipt = await executor.stub.CancelOrders(pb.CancelOrdersRequest(request_id=str(uuid4()), note="drill"))
        assert [one.result for one in receipt.outcomes] == [pb.CANCEL_RESULT_CANCELLED]
        (position,) = await look(executor)
        assert not position.orders
        await executor.stub.SetTradingState(
            pb.SetTradingStateRequest(request_id=str(uuid4()), state="TRADING_STATE_REDUCING", note="drill")
        )
        (position,) = await look(executor)
        assert len(position.orders) == 1


@pytest.mark.parametrize(
    "fault", ["refuse_500", "drop_before", "accept_500", "accept_drop", "accept_truncated", "late"]
)
async def test_a_doubt_about_a_bracket_ends_with_one(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any, fault: str
) -> None:
    proxy.late_seconds = 1.0
    async with operated({**protecting, "RECONCILE_SECONDS": "0.3"}) as executor:
        proxy.plan.extend(["none", fault])
        entry = await bought(executor, issuer)
        order = await rests(executor)
        assert order.base_size == entry.filled_size
        assert (await there(simulator, order.order_id)).status == "OPEN"
        listed = await executor.stub.ListOrders(pb.ListOrdersRequest())
        assert len([one for one in listed.orders if one.purpose == pb.ORDER_PURPOSE_PROTECTION]) == 1
    await assert_ledger_holds(database)


async def test_a_bracket_that_is_refused_is_kept_here_instead(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    async with operated(protecting) as executor:
        proxy.plan.extend(["none", "refuse_order"])
        await bought(executor, issuer)
        waits = await rests(executor, pb.ORDER_STATE_WAITING)
        assert waits.order_type == pb.ORDER_TYPE_MARKET
        listed = await executor.stub.ListOrders(pb.ListOrdersRequest())
        refusals = [one for one in listed.orders if one.state == pb.ORDER_STATE_REJECTED]
        assert [(one.order_type, one.reasons[0].code) for one in refusals] == [
            (pb.ORDER_TYPE_BRACKET, "INSUFFICIENT_FUND")
        ]


@pytest.mark.parametrize("habit", [{"cancel_seconds": 1.5}, {"hide_new_seconds": 1.0}, {"settle_seconds": 1.0}])
async def test_an_exchange_that_takes_its_time_is_waited_for(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any, habit: dict[str, float]
) -> None:
    """A cancel that is only queued, an order that is not shown yet, fills that are not final: nothing is sold twice."""
    async with operated({**protecting, "RECONCILE_SECONDS": "0.3"}) as executor:
        await simulator.control("habits", **habit)
        try:
            entry = await executor.execute(await issuer.request(recommend(Side.BUY, "100.00")))
            entry = await done(executor, entry.order_id)
            bracket = await rests(executor)
            item = await without_ticket(issuer, recommend(Side.SELL, entry.filled_size.value))
            sold = None
            async with asyncio.timeout(60):
                while sold is None:
                    try:
                        sold = await done(executor, (await executor.execute(item)).order_id)
                    except grpc.aio.AioRpcError as error:
                        assert from_rpc_error(error).reason == "NOTHING_AVAILABLE"
                        await asyncio.sleep(0.2)
        finally:
            await simulator.control("habits", **dict.fromkeys(habit, 0.0))
        assert (sold.state, sold.filled_size) == (pb.ORDER_STATE_FILLED, entry.filled_size)
        ended = await done(executor, bracket.order_id)
        assert (ended.state, ended.filled_size.value) == (pb.ORDER_STATE_CANCELLED, "0")
        async with asyncio.timeout(120):
            while not (await executor.reconcile()).clean:
                await asyncio.sleep(0.2)
    await assert_ledger_holds(database)
