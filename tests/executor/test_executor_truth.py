"""Only the exchange's own well-formed word ends an order, and nothing is sent against the trading state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forwarder import forwarding
from sqlalchemy import select, text

from exchange_client import ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from schema.execution import orders
from svc_executor import wire
from tests.executor.issuer import Issuer, assert_ledger_holds, at_exchange, intake_alone, recommend, running
from tests.executor.processes import TERMINAL, clean, process
from tests.executor.switching import turn
from tests.executor.venue import FaultProxy, Simulator
from tradekit import ids
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb


async def row(database: Any, order_id: str) -> Any:
    async with database.engine.connect() as connection:
        return (await connection.execute(select(orders).where(orders.c.order_id == order_id))).one()


# ---- the trading state -----------------------------------------------------------------------------------------------


async def test_after_a_halt_nothing_is_sent_when_the_exchange_is_reachable_again(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any, tmp_path: Path
) -> None:
    """Replies lost, the order unknown, halted, the exchange back: searched for and not sent; resumed, it goes on."""
    halting = {**environ, "HALT_FILE": str(tmp_path / "halt.json")}
    async with process(halting) as (executor, _):
        await executor.reconcile()
        lost = await issuer.request(recommend(Side.BUY, "20.00", life_seconds=600))
        made = await issuer.request(recommend(Side.BUY, "30.00", "ETH-USD", life_seconds=600))
        waiting = await issuer.request(recommend(Side.BUY, "40.00", "DOGE-USD", life_seconds=600))
        proxy.reads_fail = 10**6
        proxy.plan.append("drop_before")
        unknown = await executor.execute(lost)
        proxy.plan.append("accept_drop")
        accepted = await executor.execute(made)
        assert {unknown.state, accepted.state} == {pb.ORDER_STATE_UNKNOWN}
        proxy.plan.extend(["refuse_429"] * 100)
        unsent = await executor.execute(waiting)
        assert unsent.state == pb.ORDER_STATE_PENDING

        assert (await executor.stub.SetTradingState(turn("HALTED"))).stored
        await executor.until(unsent.order_id, *TERMINAL)
        sent = len(proxy.sends)
        proxy.plan.clear()
        proxy.reads_fail = 0

        # Every send of it was turned away by the exchange's own word: over. In doubt: found if it is there, never sent.
        unsent = await executor.until(unsent.order_id, *TERMINAL)
        assert unsent.state == pb.ORDER_STATE_REJECTED
        assert [(one.code, one.observed) for one in unsent.reasons] == [("KILL_SWITCH", "HALTED")]
        assert (await executor.until(accepted.order_id, *TERMINAL)).state == pb.ORDER_STATE_FILLED
        for _ in range(3):
            assert (await executor.reconcile()).orders_unknown == 1
        assert (await executor.execute(lost)).state == pb.ORDER_STATE_UNKNOWN
        assert len(proxy.sends) == sent
        assert await at_exchange(simulator, unknown.order_id) == []

        await executor.stub.SetTradingState(turn("ACTIVE"))
        assert (await executor.until(unknown.order_id, *TERMINAL)).state == pb.ORDER_STATE_FILLED
        await clean(executor)
    assert len(proxy.sends) == sent + 1
    for order in (unknown, accepted):
        assert len(await at_exchange(simulator, order.order_id)) == 1
    assert await at_exchange(simulator, unsent.order_id) == []
    await assert_ledger_holds(database)


async def test_an_intent_that_was_never_sent_ends_as_halted_and_an_exit_goes_while_reducing(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    async with running(environ) as executor:
        bought = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))
    entry, exit_ = recommend(Side.BUY, "20.00"), recommend(Side.SELL, bought.filled_size.value)
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    async with CoinbaseClient(config) as client, intake_alone(environ, issuer, client) as intake:
        for item in (entry, exit_):
            await intake.order_for(wire.parse_execute(await issuer.request(item)))
    async with database.engine.begin() as connection:
        await connection.execute(text("SELECT set_trading_state('REDUCING', 'test', false)"))
    async with running(environ) as executor:
        order = await executor.until(str(ids.order_id(entry.recommendation_id)), *TERMINAL)
        assert (order.state, order.send_count) == (pb.ORDER_STATE_REJECTED, 0)
        assert [(one.code, one.observed) for one in order.reasons] == [("KILL_SWITCH", "REDUCING")]
        order = await executor.until(str(ids.order_id(exit_.recommendation_id)), *TERMINAL)
        assert order.state == pb.ORDER_STATE_FILLED
        await clean(executor)
    assert len(proxy.sends) == 2


async def test_a_halt_while_a_counted_send_waits_for_its_connection_stops_it(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any, tmp_path: Path
) -> None:
    slow = {"EXCHANGE_TOTAL_SECONDS": "5", "EXCHANGE_READ_SECONDS": "5", "ABSENCE_SECONDS": "15"}
    async with forwarding(proxy.port) as front:
        halting = {
            **environ,
            **slow,
            "EXCHANGE_HOST": f"127.0.0.1:{front.port}",
            "HALT_FILE": str(tmp_path / "halt.json"),
        }
        halting["RECONCILE_SECONDS"] = "60"
        async with running(halting) as executor:
            await executor.reconcile()
            assert (await executor.execute(await issuer.request(recommend(Side.BUY, "5.00")))).fills
            request = await issuer.request(recommend(Side.BUY, "20.00"))
            front.stall()
            call = asyncio.ensure_future(executor.execute(request))
            order_id = str(ids.order_id(next(reversed(issuer.known))))
            async with asyncio.timeout(60):
                while not await counted(database, order_id):
                    await asyncio.sleep(0.02)
            assert (await executor.stub.SetTradingState(turn("HALTED"))).stored
            front.go()
            await call
            order = await executor.until(order_id, *TERMINAL)
            assert (order.state, order.send_count) == (pb.ORDER_STATE_REJECTED, 1)
            assert order.reasons[0].code == "KILL_SWITCH"
    assert len(proxy.sends) == 1
    assert await at_exchange(simulator, order_id) == []


async def counted(database: Any, order_id: str) -> bool:
    query = select(orders.c.send_count).where(orders.c.order_id == order_id)
    async with database.engine.connect() as connection:
        return bool((await connection.execute(query)).scalar_one_or_none())


# ---- absence and lateness --------------------------------------------------------------------------------------------


async def test_a_request_that_arrives_while_its_token_lives_is_waited_for(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """The wire keeps it back for most of the token's life, until the entry's own life is over."""
    # A token's end is reckoned in whole seconds, so it lives for 9 to 10 s from the decision to send.
    proxy.late_seconds = 7
    proxy.plan.append("late")
    proxy.plan.extend(["refuse_429"] * 100)
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00", life_seconds=6)))
        order = await executor.until(order.order_id, *TERMINAL, seconds=60)
        assert order.state == pb.ORDER_STATE_FILLED
        assert (await proxy.late[0])[0] == 200
        proxy.plan.clear()
        await clean(executor)
    assert len(await at_exchange(simulator, order.order_id)) == 1
    await assert_ledger_holds(database)


async def test_a_request_that_arrives_after_its_token_is_over_makes_nothing_and_the_order_ends(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    proxy.late_seconds = 10.2
    proxy.plan.append("late")
    proxy.plan.extend(["refuse_429"] * 100)
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00", life_seconds=6)))
        order = await executor.until(order.order_id, *TERMINAL, seconds=60)
        assert (order.state, order.reasons[0].code) == (pb.ORDER_STATE_REJECTED, "NOT_SENT")
        assert (await proxy.late[0])[0] == 401
    assert await at_exchange(simulator, order.order_id) == []


async def test_an_order_that_ended_without_the_exchanges_id_is_adopted_when_it_appears(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """The exchange's own word can be wrong as well; then order, position and ledger follow what it has."""
    async with running(environ) as executor:
        refused = await executor.execute(await issuer.request(recommend(Side.BUY, "99000000.00")))
        proxy.plan.append("lie")
        proxy.hide_orders = True
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")))
        assert (order.state, order.reasons[0].code) == (pb.ORDER_STATE_REJECTED, "INSUFFICIENT_FUND")
        assert not (await executor.reconcile()).clean
        proxy.hide_orders = False
        order = await executor.until(order.order_id, pb.ORDER_STATE_FILLED)
        assert [reason.code for reason in order.reasons] == ["ORDER_ADOPTED"]
        assert order.fills
        await clean(executor)
        # Told once, and nothing is left to look for; the other is still looked for and stays what it is.
        stored, other = await row(database, order.order_id), await row(database, refused.order_id)
        assert (stored.watch_until, other.adopted_at) == (None, None)
        assert other.watch_until is not None
    async with database.engine.connect() as connection:
        alarms = (await connection.execute(text("SELECT code, order_id::text FROM monitor_order_alarms"))).all()
    assert [tuple(one) for one in alarms] == [("ORDER_ADOPTED", order.order_id)]
    await assert_ledger_holds(database)


# ---- what reads show -------------------------------------------------------------------------------------------------


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda order: order.pop(name)


@pytest.mark.parametrize(
    ("change", "known"),
    [
        (lambda order: order["order_configuration"]["market_market_ioc"].update(base_size="0"), True),
        (lambda order: order["order_configuration"].update(limit_limit_gtc=None, new_in_2027={}), True),
        (without("order_configuration"), False),
        (lambda order: order.update(order_configuration=None), False),
        (without("filled_size"), False),
        (without("settled"), False),
        (without("client_order_id"), False),
    ],
)
async def test_what_a_read_leaves_out_or_adds_ends_nothing(
    environ: dict[str, str],
    issuer: Issuer,
    simulator: Simulator,
    proxy: FaultProxy,
    change: Callable[[dict[str, Any]], Any],
    known: bool,
) -> None:
    async with running(environ) as executor:
        proxy.shown = change
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")), timeout=30)
        assert order.state == (pb.ORDER_STATE_FILLED if known else pb.ORDER_STATE_UNKNOWN)
        proxy.shown = None
        order = await executor.until(order.order_id, *TERMINAL)
        assert order.state == pb.ORDER_STATE_FILLED
        assert order.send_count == 1
        await clean(executor)
    assert len(await at_exchange(simulator, order.order_id)) == 1


async def test_an_accepted_order_that_no_read_shows_is_neither_sent_again_nor_given_up(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    async with running(environ) as executor:
        await executor.reconcile()
        proxy.reads_fail = 10**6
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")))
        assert order.state == pb.ORDER_STATE_UNKNOWN
        assert order.exchange_order_id
        # The list lacks it for good: its own id is enough.
        proxy.hide_orders = True
        proxy.reads_fail = 0
        order = await executor.until(order.order_id, *TERMINAL)
        assert (order.state, order.send_count) == (pb.ORDER_STATE_FILLED, 1)
        await clean(executor)


@pytest.mark.parametrize("time_fails", [False, True])
async def test_the_search_does_not_lean_on_what_a_recommendation_claims(
    environ: dict[str, str], issuer: Issuer, proxy: FaultProxy, time_fails: bool
) -> None:
    """Its market time lies in the year 2099; and the exchange may not even have told its own time before the send."""
    item = recommend(Side.BUY, "20.00")
    item = replace(item, as_of=item.as_of.replace(year=2099))
    async with running(environ) as executor:
        await executor.reconcile()
        proxy.time_fails = time_fails
        proxy.plan.append("accept_drop")
        order = await executor.execute(await issuer.request(item))
        order = await executor.until(order.order_id, *TERMINAL)
        assert (order.state, order.send_count) == (pb.ORDER_STATE_FILLED, 1)
