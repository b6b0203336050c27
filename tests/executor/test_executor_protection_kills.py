"""The executor killed at each step of a bracket's life: one bracket, one sale, and never more sold than is held."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
import pytest

from exchange_client import ExchangeConfig
from exchange_client.coinbase.client import CoinbaseClient
from tests.executor.issuer import Issuer, Running, assert_ledger_holds, recommend
from tests.executor.processes import TERMINAL, clean, process
from tests.executor.selling import bought, without_ticket
from tests.executor.venue import FaultProxy, Simulator
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb

NEVER = 3600.0


async def protective(executor: Running) -> list[pb.Order]:
    listed = await executor.stub.ListOrders(pb.ListOrdersRequest(), timeout=10)
    return [one for one in listed.orders if one.purpose == pb.ORDER_PURPOSE_PROTECTION]


async def resting(executor: Running) -> pb.Order:
    """The one bracket, as soon as it rests."""
    async with asyncio.timeout(120):
        while True:
            open_ones = [one for one in await protective(executor) if one.state not in TERMINAL]
            if [one.state for one in open_ones] == [pb.ORDER_STATE_OPEN]:
                return open_ones[0]
            assert len(open_ones) <= 1
            await asyncio.sleep(0.1)


async def account(simulator: Simulator) -> tuple[Decimal, set[str]]:
    """What the exchange holds of the coin, and the client ids of what rests there."""
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    async with CoinbaseClient(config) as client:
        coins = sum((one.total for one in await client.accounts() if one.currency == "BTC"), Decimal(0))
        return coins, {one.client_order_id for one in await client.resting_orders()}


@pytest.mark.parametrize(
    ("plan", "sells"),
    [
        pytest.param(["none", "hang_before"], False, id="before the bracket is sent"),
        pytest.param(["none", "accept_hang"], False, id="before its answer comes"),
        pytest.param(["none", "none", "hang_before"], True, id="before the cancel is sent"),
        pytest.param(["none", "none", "accept_hang"], True, id="before the cancel's answer comes"),
        pytest.param(["none", "none", "none", "hang_before"], True, id="before the sale is sent"),
        pytest.param(["none", "none", "none", "accept_hang"], True, id="before the sale's answer comes"),
    ],
)
async def test_killed_at_each_step_it_goes_on_from_the_rows(
    environ: dict[str, str],
    issuer: Issuer,
    simulator: Simulator,
    proxy: FaultProxy,
    database: Any,
    plan: list[str],
    sells: bool,
) -> None:
    before, others = await account(simulator)
    patient = {"EXCHANGE_READ_SECONDS": "60", "EXCHANGE_TOTAL_SECONDS": "60", "ABSENCE_SECONDS": "200"}
    proxy.hang_seconds = NEVER
    proxy.plan.extend(plan)
    item = None
    async with process({**environ, **patient, "PROTECTIVE_EXITS": "BRACKET"}) as (executor, child):
        entry = await bought(executor, issuer)
        leaving = None
        if sells:
            await resting(executor)
            item = await without_ticket(issuer, recommend(Side.SELL, entry.filled_size.value))
            leaving = asyncio.ensure_future(executor.execute(item, timeout=60))
        async with asyncio.timeout(60):
            while len(proxy.sends) < len(plan):
                await asyncio.sleep(0.02)
        # What was accepted has reached the exchange by then; its answer never comes.
        await asyncio.sleep(0.3)
        child.send_signal(signal.SIGKILL)
        await child.wait()
        if leaving is not None:
            with pytest.raises(grpc.aio.AioRpcError):
                await leaving
    async with process({**environ, "PROTECTIVE_EXITS": "BRACKET"}) as (executor, _):
        if item is None:
            bracket = await resting(executor)
            assert bracket.base_size == entry.filled_size
            coins, there = await account(simulator)
            assert there - others == {bracket.order_id}
            assert coins - before == Decimal(entry.filled_size.value)
            await executor.stub.ClosePositions(pb.ClosePositionsRequest(request_id=str(uuid4()), note="end"))
        else:
            await _sold(executor, item)
        async with asyncio.timeout(120):
            while [one for one in await protective(executor) if one.state not in TERMINAL]:
                await asyncio.sleep(0.1)
        await clean(executor)
        # No order was sent twice under two bodies, and the position is gone once.
        assert await account(simulator) == (before, others)
    await assert_ledger_holds(database)


async def _sold(executor: Running, item: pb.ExecuteRecommendationRequest) -> None:
    """Asked again, as the orchestrator does: what protects may have to go first."""
    async with asyncio.timeout(120):
        while True:
            try:
                order = await executor.execute(item, timeout=20)
            except grpc.aio.AioRpcError as error:
                assert error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE), error
            else:
                if order.state in TERMINAL:
                    assert order.filled_size == item.size
                    return
            await asyncio.sleep(0.3)
