"""Feeds between an executor and a simulated exchange: what they tell is seen at once, what they miss is found all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from exchange_client import ExchangeConfig, FeedEvent, FeedFault, FeedLost, Synchronised
from exchange_client.coinbase.client import CoinbaseClient
from svc_monitor.health import FEEDS_NAME
from tests.executor.issuer import Issuer, Running, assert_ledger_holds, recommend
from tests.executor.protecting import NEAR, done, operated, rests, there
from tests.executor.selling import bought
from tests.executor.venue import Simulator
from tradekit.states import Side
from trading.executor.v1 import executor_service_pb2 as pb

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SOLD = (pb.EXIT_TRIGGER_STOP, pb.EXIT_TRIGGER_TARGET)


@pytest.fixture
def following(environ: dict[str, str], simulator: Simulator) -> dict[str, str]:
    """An executor's environment that asks so seldom by itself that only a feed can tell it in time."""
    return {
        **environ,
        **NEAR,
        "FEEDS": "true",
        "EXCHANGE_HOST": simulator.host,
        "EXCHANGE_READ_SECONDS": "10",
        "EXCHANGE_TOTAL_SECONDS": "10",
        "ABSENCE_SECONDS": "30",
        "PROTECTIVE_EXITS": "BRACKET",
        "PROTECTION_POLL_SECONDS": "60",
        "RECONCILE_SECONDS": "300",
    }


@asynccontextmanager
async def trouble(simulator: Simulator, **fault: object) -> AsyncIterator[None]:
    """The exchange has a fault of its WebSocket inside."""
    await simulator.control("faults", **fault)
    try:
        yield
    finally:
        await simulator.control("faults", "DELETE")


async def feeds_are(executor: Running, state: int) -> None:
    """Returns when the health of the feeds is so."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{executor.port}") as channel, asyncio.timeout(120):
        stub = health_pb2_grpc.HealthStub(channel)
        while (await stub.Check(health_pb2.HealthCheckRequest(service=FEEDS_NAME))).status != state:
            await asyncio.sleep(0.05)


async def until_it_ended(simulator: Simulator, order_id: str) -> None:
    while (await there(simulator, order_id)).status == "OPEN":
        await simulator.go_on(hours=1)


async def test_a_bracket_that_sold_is_told_and_booked_at_once(
    following: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(following) as executor:
        await feeds_are(executor, SERVING)
        entry = await bought(executor, issuer)
        order = await rests(executor)
        await until_it_ended(simulator, order.order_id)
        sold = await done(executor, order.order_id)
        assert (sold.state, sold.filled_size) == (pb.ORDER_STATE_FILLED, entry.filled_size)
        assert sold.trigger in SOLD
        assert (await executor.reconcile()).clean
    await assert_ledger_holds(database)


async def test_an_entry_that_rests_is_recorded_when_the_feed_tells_of_its_fill(
    following: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated({**following, "ENTRY_ORDER": "limit", "PROTECTIVE_EXITS": "OFF"}) as executor:
        await feeds_are(executor, SERVING)
        wanted = recommend(Side.BUY, "100.00", life_seconds=30 * 86_400)
        entry = await executor.execute(await issuer.request(wanted))
        assert entry.state == pb.ORDER_STATE_OPEN
        await until_it_ended(simulator, entry.order_id)
        # By itself the executor looks once a minute, and at a resting entry only while no feed tells.
        assert (await executor.until(entry.order_id, pb.ORDER_STATE_FILLED, seconds=50)).fills
    await assert_ledger_holds(database)


async def test_a_fill_whose_message_was_lost_with_the_connection_is_found(
    following: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated(following) as executor:
        await feeds_are(executor, SERVING)
        await bought(executor, issuer)
        order = await rests(executor)
        async with trouble(simulator, kind="ws_drop", channel="user", count=1):
            await until_it_ended(simulator, order.order_id)
            assert (await done(executor, order.order_id)).state == pb.ORDER_STATE_FILLED
            assert (await simulator.control("faults", "GET"))["met"][-1]["kind"] == "ws_drop"  # type: ignore[index]
        await feeds_are(executor, SERVING)
    await assert_ledger_holds(database)


async def test_a_silent_feed_is_seen_and_what_it_does_not_tell_is_asked_for(
    following: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    polling = {**following, "FEED_SILENT_SECONDS": "2", "RECONCILE_SECONDS": "1"}
    async with operated(polling) as executor:
        await feeds_are(executor, SERVING)
        await bought(executor, issuer)
        order = await rests(executor)
        async with trouble(simulator, kind="ws_gap"):
            await feeds_are(executor, NOT_SERVING)
            await until_it_ended(simulator, order.order_id)
            assert (await done(executor, order.order_id)).state == pb.ORDER_STATE_FILLED
        await feeds_are(executor, SERVING)
    await assert_ledger_holds(database)


async def test_a_stop_that_is_kept_here_is_sent_when_the_feed_tells_its_price(
    following: dict[str, str], issuer: Issuer, simulator: Simulator, database: Any
) -> None:
    async with operated({**following, "PROTECTIVE_EXITS": "SOFTWARE"}) as executor:
        entry = await bought(executor, issuer)
        order = await rests(executor, pb.ORDER_STATE_WAITING)
        async with asyncio.timeout(120):
            while order.state == pb.ORDER_STATE_WAITING:
                await simulator.go_on(hours=1)
                order = (await executor.stub.GetOrder(pb.GetOrderRequest(order_id=order.order_id))).order
                await asyncio.sleep(0.3)
        sold = await done(executor, order.order_id)
        assert (sold.state, sold.filled_size) == (pb.ORDER_STATE_FILLED, entry.filled_size)
        assert sold.trigger in SOLD
    await assert_ledger_holds(database)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("refuse_500", FeedFault.REFUSED),
        ("ws_refuse", FeedFault.REFUSED),
        ("ws_drop", FeedFault.ENDED),
        ("ws_close", FeedFault.ENDED),
        ("ws_gap", FeedFault.GAP),
        ("ws_silence", FeedFault.SILENT),
    ],
)
async def test_a_connection_ends_with_what_was_wrong_with_it(simulator: Simulator, kind: str, fault: FeedFault) -> None:
    config = ExchangeConfig(simulator.host, simulator.ca_file, simulator.key_file)
    of_snapshot = {"path": "/ws/user"} if kind == "refuse_500" else {"path": "/ws/user", "channel": "user"}
    async with CoinbaseClient(config) as client, trouble(simulator, kind=kind, count=1, seconds=60, **of_snapshot):
        feeds = client.feeds(silent_seconds=0.5 if kind == "ws_silence" else 5.0)
        assert feeds is not None
        told: list[FeedEvent] = []
        with pytest.raises(FeedLost) as lost:
            async for event in feeds.orders():
                told += [event]
        assert lost.value.fault is fault
        assert (Synchronised() in told) is (kind not in ("refuse_500", "ws_refuse"))
