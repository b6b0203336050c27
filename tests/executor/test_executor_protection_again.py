"""A bracket that the exchange refused: an order that waits here takes its place, until a bracket may rest again."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from exchange_client import Accepted, ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from tests.executor.issuer import Issuer, Running, assert_ledger_holds, recommend, running
from tests.executor.processes import TERMINAL, process
from tests.executor.protecting import done, look, operated, rests, there
from tests.executor.selling import bought
from tests.executor.venue import FaultProxy, Simulator
from tradekit.exit_plan import ExitPlan
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb

D = Decimal
PASSES, STAYS = "refuse_for:INSUFFICIENT_FUND", "refuse_for:UNSUPPORTED_ORDER_CONFIGURATION"


@pytest.fixture
def protecting(environ: dict[str, str]) -> dict[str, str]:
    """An executor's environment that hears of what happened when it looks."""
    return {**environ, "PROTECTIVE_EXITS": "BRACKET", "RECONCILE_SECONDS": "60", "FEEDS": "false"}


async def protective(executor: Running) -> list[pb.Order]:
    """Newest first."""
    listed = await executor.stub.ListOrders(pb.ListOrdersRequest(), timeout=10)
    return [one for one in listed.orders if one.purpose == pb.ORDER_PURPOSE_PROTECTION]


async def an_hour_later(database: Any) -> None:
    """As if what was refused had been refused an hour ago."""
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE orders SET updated_at = updated_at - interval '1 hour'"))


async def test_what_somebody_held_for_a_moment_is_protected_at_the_exchange_again(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    hand = ExchangeConfig(simulator.host, simulator.ca_file, simulator.other_key_file)
    async with operated(protecting) as executor, CoinbaseClient(hand) as client:
        entry = await bought(executor, issuer)
        first = await rests(executor)
        assert await client.cancel_orders([(await there(simulator, first.order_id)).order_id]) == {}
        while (await there(simulator, first.order_id)).status == "OPEN":
            await asyncio.sleep(0.05)
        free = sum(one.available for one in await client.accounts() if one.currency == "BTC")
        price = f"{(await client.best_bids(['BTC-USD']))['BTC-USD'] * D('1.3'):.2f}"
        terms = {"limit_limit_gtc": {"base_size": f"{free:f}", "limit_price": price, "post_only": False}}
        body = {"client_order_id": f"hand-{uuid4()}", "product_id": "BTC-USD", "side": "SELL"}
        made = await client.create_order(json.dumps({**body, "order_configuration": terms}).encode())
        assert isinstance(made, Accepted), made
        (position,) = await look(executor)
        (waits,) = position.orders
        assert (waits.state, waits.order_type) == (pb.ORDER_STATE_WAITING, pb.ORDER_TYPE_MARKET)
        refused = (await protective(executor))[1]
        assert (refused.state, refused.reasons[0].code) == (pb.ORDER_STATE_REJECTED, "INSUFFICIENT_FUND")
        await client.cancel_orders([made.exchange_order_id])
        again = await rests(executor)
        assert again.base_size == entry.filled_size == refused.base_size
        assert (again.stop_price, again.target_price) == (first.stop_price, first.target_price)
        assert again.entry_order_id == entry.order_id
        assert (await there(simulator, again.order_id)).status == "OPEN"
        ended = await done(executor, waits.order_id)
        assert (ended.state, ended.send_count) == (pb.ORDER_STATE_CANCELLED, 0)
        assert [reason.code for reason in ended.reasons] == ["PROTECTION_CHANGED"]
        (position,) = await look(executor)
        assert (position.protected_size, position.unprotected_size.value) == (entry.filled_size, "0")
    await assert_ledger_holds(database)


async def test_refused_again_it_waits_here_again(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """Also after a restart, and for as long as it takes."""
    proxy.plan.extend(["none", PASSES])
    async with running(protecting) as executor:
        entry = await bought(executor, issuer)
        first = await rests(executor, pb.ORDER_STATE_WAITING)
    await an_hour_later(database)
    proxy.plan.extend([PASSES])
    async with running(protecting) as executor:
        (position,) = await look(executor)
        (second,) = position.orders
        assert (second.state, second.left_size) == (pb.ORDER_STATE_WAITING, entry.filled_size)
        assert second.order_id != first.order_id
        kinds = [(one.order_type, one.state) for one in await protective(executor)]
        refused = (pb.ORDER_TYPE_BRACKET, pb.ORDER_STATE_REJECTED)
        assert kinds == [
            *((pb.ORDER_TYPE_MARKET, pb.ORDER_STATE_WAITING), refused),
            *((pb.ORDER_TYPE_MARKET, pb.ORDER_STATE_CANCELLED), refused),
        ]
        # Its time has not come.
        sent = len(proxy.sends)
        assert [one.order_id for one in (await look(executor))[0].orders] == [second.order_id]
        assert len(proxy.sends) == sent
    await an_hour_later(database)
    async with operated(protecting) as executor:
        bracket = await rests(executor)
        assert (await there(simulator, bracket.order_id)).status == "OPEN"
    await assert_ledger_holds(database)


async def test_refused_again_each_entry_keeps_its_own_plan(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """The older one is tried first, and what it lost is not protected by the plan of the newer one."""
    async with CoinbaseClient(ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)) as client:
        price = (await client.best_bids(["BTC-USD"]))["BTC-USD"]

    async def kept(executor: Running) -> list[tuple[str, str, str]]:
        found = [one for one in await protective(executor) if one.state == pb.ORDER_STATE_WAITING]
        return sorted((one.entry_order_id, one.stop_price.value, one.base_size.value) for one in found)

    async with running(protecting) as executor:
        for count, share in enumerate(("0.9", "0.8"), 1):
            proxy.plan.extend(["none", PASSES])
            plan = ExitPlan(price * D(share), price * D("1.2"))
            item = replace(recommend(Side.BUY, "100.00"), exit_plan=plan)
            await executor.execute(await issuer.request(item))
            async with asyncio.timeout(30):
                while len(await kept(executor)) < count:
                    await asyncio.sleep(0.05)
        before = await kept(executor)
        assert len({entry for entry, _, _ in before}) == len({stop for _, stop, _ in before}) == 2
    await an_hour_later(database)
    sent = len(proxy.sends)
    proxy.plan.extend([PASSES])
    async with operated(protecting) as executor:
        await look(executor)
        assert (await kept(executor), len(proxy.sends)) == (before, sent + 1)
    await assert_ledger_holds(database)


async def test_what_the_exchange_takes_at_no_time_is_not_tried_again(
    protecting: dict[str, str], issuer: Issuer, proxy: FaultProxy, database: Any
) -> None:
    proxy.plan.extend(["none", STAYS])
    async with running(protecting) as executor:
        await bought(executor, issuer)
        waits = await rests(executor, pb.ORDER_STATE_WAITING)
    await an_hour_later(database)
    sent = len(proxy.sends)
    async with operated(protecting) as executor:
        (position,) = await look(executor)
        assert [one.order_id for one in position.orders] == [waits.order_id]
        assert len(proxy.sends) == sent


async def test_an_exchange_that_takes_no_requests_now_is_no_reason_to_watch_nothing(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any
) -> None:
    """It said that it made no order, so one that waits here may take the place of the one that was turned away."""
    proxy.plan.extend(["none", *["refuse_429"] * 3])
    async with running(protecting) as executor:
        entry = await bought(executor, issuer)
        waits = await rests(executor, pb.ORDER_STATE_WAITING)
        assert waits.base_size == entry.filled_size
        bracket = (await protective(executor))[1]
        assert (bracket.state, bracket.reasons[0].code) == (pb.ORDER_STATE_CANCELLED, "NOT_SENT")
    await an_hour_later(database)
    async with operated(protecting) as executor:
        assert (await there(simulator, (await rests(executor)).order_id)).status == "OPEN"


@pytest.mark.parametrize("fault", ["hang_before", "accept_hang"])
async def test_killed_while_a_bracket_takes_the_place_of_what_waited_there_is_one(
    protecting: dict[str, str], issuer: Issuer, simulator: Simulator, proxy: FaultProxy, database: Any, fault: str
) -> None:
    proxy.hang_seconds = 3600.0
    patient = {"EXCHANGE_READ_SECONDS": "60", "EXCHANGE_TOTAL_SECONDS": "60", "ABSENCE_SECONDS": "200"}
    proxy.plan.extend(["none", PASSES])
    async with running(protecting) as executor:
        entry = await bought(executor, issuer)
        await rests(executor, pb.ORDER_STATE_WAITING)
    await an_hour_later(database)
    proxy.plan.extend([fault])
    async with process({**protecting, **patient}) as (executor, child):
        async with asyncio.timeout(60):
            while len(proxy.sends) < 3:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        (alone,) = [one for one in await protective(executor) if one.state not in TERMINAL]
        assert (alone.order_type, alone.base_size) == (pb.ORDER_TYPE_BRACKET, entry.filled_size)
        child.send_signal(signal.SIGKILL)
        await child.wait()
    async with operated({**protecting, "RECONCILE_SECONDS": "0.5"}) as executor:
        bracket = await rests(executor)
        assert (bracket.order_id, bracket.base_size) == (alone.order_id, entry.filled_size)
        assert (await there(simulator, bracket.order_id)).status == "OPEN"
        assert [one.order_id for one in (await look(executor))[0].orders] == [bracket.order_id]
    await assert_ledger_holds(database)
