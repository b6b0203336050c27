"""Faults between the executor and the exchange, and deaths of the executor: one order at most, and ledgers that are equal."""

from __future__ import annotations

import asyncio
import signal
from typing import Any
from uuid import UUID

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text, update

from exchange_client import Accepted, ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from meshkit.errors import from_rpc_error
from schema.execution import orders
from svc_executor import wire
from tests.executor.issuer import Issuer, assert_ledger_holds, at_exchange, intake_alone, recommend, running
from tests.executor.processes import TERMINAL, clean, process
from tests.executor.venue import BEFORE, FAULTS, FaultProxy, Simulator
from tradekit import ids
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb


async def test_one_fault_each_ends_in_one_filled_order(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    async with running(environ) as executor:
        for fault in FAULTS:
            proxy.plan.append(fault)
            order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")))
            order = await executor.until(order.order_id, *TERMINAL)
            assert order.state == pb.ORDER_STATE_FILLED, fault
            assert len(await at_exchange(simulator, order.order_id)) == 1, fault
            sent = [body for body, _ in proxy.sends if order.order_id.encode() in body]
            assert len(set(sent)) == 1, fault
            # A 401 is answered with one fresh token inside one counted send; what was accepted is found, not sent again.
            assert len(sent) == (2 if fault in BEFORE else 1), fault
        await clean(executor)
    await assert_ledger_holds(database)


async def test_an_order_nobody_can_see_stays_unknown_and_blocks_its_product_only(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    async with running({**environ, "ABSENCE_SECONDS": "60"}) as executor:
        assert (await executor.execute(await issuer.request(recommend(Side.BUY, "5.00")))).fills
        proxy.plan.append("accept_500")
        proxy.reads_fail = 10**6
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")))
        assert order.state == pb.ORDER_STATE_UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as blocked:
            await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")))
        assert from_rpc_error(blocked.value).reason == "ORDER_UNKNOWN"
        proxy.reads_fail = 0
        assert (await executor.until(order.order_id, *TERMINAL)).state == pb.ORDER_STATE_FILLED
        await clean(executor)
    assert len(await at_exchange(simulator, order.order_id)) == 1


async def test_an_order_that_the_list_hides_is_sent_again_and_recognised(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    proxy.hide_orders = True
    proxy.plan.append("accept_drop")
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00")))
        assert order.state == pb.ORDER_STATE_FILLED
        assert order.send_count == 2
        await clean(executor)
    assert len(await at_exchange(simulator, order.order_id)) == 1


async def test_a_refusal_after_a_doubt_ends_the_order_only_when_its_absence_is_proven(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    proxy.plan.append("refuse_500")
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "99000000.00")))
        assert order.state == pb.ORDER_STATE_UNKNOWN
        order = await executor.until(order.order_id, *TERMINAL, seconds=60)
        assert order.state == pb.ORDER_STATE_REJECTED
        assert order.reasons[0].code == "INSUFFICIENT_FUND"
        assert order.send_count == 2, "refused once, it is searched for and not sent again and again"
        await clean(executor)
    assert await at_exchange(simulator, order.order_id) == []


async def test_an_entry_whose_life_ends_unsent_is_rejected_as_not_sent(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    proxy.plan.extend(["refuse_429"] * 50)
    async with running(environ) as executor:
        order = await executor.execute(await issuer.request(recommend(Side.BUY, "20.00", life_seconds=6)))
        assert order.state == pb.ORDER_STATE_PENDING
        order = await executor.until(order.order_id, *TERMINAL)
        assert order.state == pb.ORDER_STATE_REJECTED
        assert order.reasons[0].code == "NOT_SENT"
    assert await at_exchange(simulator, order.order_id) == []


async def test_an_order_of_other_terms_under_our_id_is_not_taken_for_ours(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    item = recommend(Side.BUY, "20.00")
    async with running(environ) as executor:
        await executor.execute(await issuer.request(recommend(Side.BUY, "5.00")))
        config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
        body = (
            proxy.sends[0][0]
            .decode()
            .replace(str(ids.order_id(next(iter(issuer.known)))), str(ids.order_id(item.recommendation_id)))
        )
        async with CoinbaseClient(config) as client:
            assert isinstance(await client.create_order(body.encode()), Accepted)
        order = await executor.execute(await issuer.request(item))
        assert order.state == pb.ORDER_STATE_REJECTED
        assert order.reasons[0].code == "CLIENT_ORDER_ID_TAKEN"
        # Somebody traded beside us: the tables say so and do not repair it.
        assert not (await executor.reconcile()).clean


async def test_a_caller_that_leaves_does_not_stop_its_order(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy
) -> None:
    proxy.plan.append("accept_hang")
    async with running(environ) as executor:
        request = await issuer.request(recommend(Side.BUY, "20.00"))
        call = asyncio.ensure_future(executor.execute(request))
        await asyncio.wait_for(proxy.held.wait(), 10)
        call.cancel()
        name = str(ids.order_id(UUID(request.recommendation.recommendation_id)))
        assert (await executor.until(name, *TERMINAL)).state == pb.ORDER_STATE_FILLED
        await clean(executor)
    assert len(await at_exchange(simulator, name)) == 1


async def test_a_database_that_fails_after_the_send_loses_nothing(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    async with running(
        {**environ, "EXCHANGE_READ_SECONDS": "5", "EXCHANGE_TOTAL_SECONDS": "5", "ABSENCE_SECONDS": "15"}
    ) as executor:
        request = await issuer.request(recommend(Side.BUY, "20.00"))
        proxy.plan.append("accept_hang")
        proxy.hang_seconds = 0.7
        call = asyncio.ensure_future(executor.execute(request))
        await asyncio.wait_for(proxy.held.wait(), 10)
        await _refuse_connections(database, True)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert from_rpc_error(caught.value).reason == "OUTCOME_UNKNOWN"
        await _refuse_connections(database, False)
        order = await executor.execute(request)
        assert order.state == pb.ORDER_STATE_FILLED
        assert order.send_count == 1
        await clean(executor)
    assert len(await at_exchange(simulator, order.order_id)) == 1


async def test_without_its_database_nothing_is_sent_and_the_same_request_works_later(
    environ: dict[str, str], issuer: Issuer, proxy: FaultProxy, database: Any
) -> None:
    async with running(environ) as executor:
        await executor.reconcile()
        request = await issuer.request(recommend(Side.BUY, "20.00"))
        await _refuse_connections(database, True)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await executor.execute(request)
        error = from_rpc_error(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
        assert proxy.sends == []
        await _refuse_connections(database, False)
        assert (await executor.execute(request)).state == pb.ORDER_STATE_FILLED
    assert len(proxy.sends) == 1


async def _refuse_connections(database: Any, refused: bool) -> None:
    """Ends every connection to the database and refuses new ones, as a stopped server would."""
    from tests.conftest import engine_of

    engine = engine_of(database.host, "postgres", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        allowed = "false" if refused else "true"
        await connection.execute(text(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {allowed}"))
        if refused:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            await connection.execute(text(end), {"name": database.name})
    await engine.dispose()


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang_before", "accept_hang"])
async def test_killed_between_send_and_record_there_is_one_order_and_equal_ledgers(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any, fault: str
) -> None:
    slow = {**environ, "EXCHANGE_READ_SECONDS": "20", "EXCHANGE_TOTAL_SECONDS": "20", "ABSENCE_SECONDS": "60"}
    request = await issuer.request(recommend(Side.BUY, "20.00"))
    proxy.plan.append(fault)
    async with process(slow) as (executor, child):
        call = asyncio.ensure_future(executor.execute(request))
        await asyncio.wait_for(proxy.held.wait(), 30)
        await asyncio.sleep(0.2)
        child.send_signal(signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    async with running(environ) as executor:
        order = await executor.execute(request)
        order = await executor.until(order.order_id, *TERMINAL)
        assert order.state == pb.ORDER_STATE_FILLED
        assert order.send_count == (2 if fault == "hang_before" else 1)
        await clean(executor)
    assert len(await at_exchange(simulator, order.order_id)) == 1
    await assert_ledger_holds(database)


async def test_dead_between_commit_and_send_the_intent_is_sent_once_after_the_restart(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """The intake alone leaves what a process leaves that died right after its commit."""
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    entry, late = recommend(Side.BUY, "20.00"), recommend(Side.BUY, "20.00")
    async with CoinbaseClient(config) as client, intake_alone(environ, issuer, client) as intake:
        for item in (entry, late):
            await intake.order_for(wire.parse_execute(await issuer.request(item)))
    over = update(orders).where(orders.c.order_id == ids.order_id(late.recommendation_id))
    async with database.engine.begin() as connection:
        await connection.execute(over.values(expire_at=func.clock_timestamp()))
    async with running(environ) as executor:
        order = await executor.until(str(ids.order_id(entry.recommendation_id)), *TERMINAL)
        assert (order.state, order.send_count) == (pb.ORDER_STATE_FILLED, 1)
        order = await executor.until(str(ids.order_id(late.recommendation_id)), *TERMINAL)
        assert (order.state, order.send_count) == (pb.ORDER_STATE_REJECTED, 0)
        assert order.reasons[0].code == "NOT_SENT"
        await clean(executor)
    assert len(proxy.sends) == 1


async def test_dead_after_the_commit_that_counted_the_send_the_order_is_searched_for_before_it_is_sent(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """The row says that bytes may have left, and none did."""
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    item = recommend(Side.BUY, "20.00")
    name = str(ids.order_id(item.recommendation_id))
    async with CoinbaseClient(config) as client, intake_alone(environ, issuer, client, counts=True) as intake:
        await intake.order_for(wire.parse_execute(await issuer.request(item)))
    async with database.engine.connect() as connection:
        left = (await connection.execute(select(orders))).one()
    assert (left.state, left.send_count, left.sent_at is not None) == ("PENDING", 1, True)
    async with running(environ) as executor:
        order = await executor.until(name, *TERMINAL)
        assert (order.state, order.send_count) == (pb.ORDER_STATE_FILLED, 2)
        await clean(executor)
    assert len(proxy.sends) == 1
    assert len(await at_exchange(simulator, name)) == 1
    await assert_ledger_holds(database)


# ---- schedules of faults ---------------------------------------------------------------------------------------------

SCHEDULES = st.lists(st.sampled_from(("none", *FAULTS)), min_size=1, max_size=7)


async def test_no_schedule_of_faults_makes_two_orders(
    environ: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """Each schedule runs against the same executor with a new recommendation; hidden lists make re-sends happen."""
    quick = {**environ, "EXCHANGE_READ_SECONDS": "0.3", "EXCHANGE_TOTAL_SECONDS": "0.3"}
    loop = asyncio.get_running_loop()
    async with running(quick) as executor:

        async def run(schedule: list[str], hidden: bool) -> None:
            proxy.plan.clear()
            proxy.plan.extend(schedule)
            proxy.hide_orders = hidden
            order = await executor.execute(await issuer.request(recommend(Side.BUY, "10.00")))
            proxy.plan.clear()
            proxy.hide_orders = False
            order = await executor.until(order.order_id, *TERMINAL)
            made = await at_exchange(simulator, order.order_id)
            assert len(made) == 1
            assert order.state == pb.ORDER_STATE_FILLED
            assert order.exchange_order_id == made[0].order_id

        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(schedule=SCHEDULES, hidden=st.booleans())
        def play(schedule: list[str], hidden: bool) -> None:
            asyncio.run_coroutine_threadsafe(run(schedule, hidden), loop).result(60)

        await asyncio.to_thread(play)
        await clean(executor)
    await assert_ledger_holds(database)
    async with database.engine.connect() as connection:
        states = set((await connection.execute(select(orders.c.state))).scalars())
    assert states == {"FILLED"}
