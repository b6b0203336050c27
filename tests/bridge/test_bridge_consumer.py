"""The bridge consumes the signals: each one has exactly one outcome whatever breaks, stops or comes twice."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from waiting import eventually

from meshkit.kit import Kit
from svc_bridge import store
from svc_bridge.settings import BridgeSettings
from svc_bridge.signal_consumer import SignalConsumer
from svc_bridge.wire import signal_of
from tests.bridge.bridge_world import AS_OF, HOUR, StandInSignals, World, signal, signal_server
from tradekit import ids
from trading.bridge.v1 import bridge_service_pb2 as pb

D = Decimal
NAMES = [f"C{number:02d}-USD" for number in range(40)]


def one_per_product(count: int) -> list[Any]:
    sides = ["BUY", "HOLD", "SELL"]
    return [signal(number + 1, sides[number % 3], NAMES[number % len(NAMES)]) for number in range(count)]


async def check_all_told(world: World, signals: list[Any], held: set[str] | None = None) -> None:
    """Every signal has its one outcome; every BUY, and every SELL of something held, its one recommendation."""
    outcomes = await world.outcomes()
    assert {str(key) for key in outcomes} == {one.signal_id for one in signals}
    recommendations = await world.recommendations()
    recommended = {row["signal_id"] for row in outcomes.values() if row["outcome"] == "RECOMMENDED"}
    assert {row["signal_id"] for row in recommendations} == recommended
    assert len(recommended) == sum(
        one.side == 1 or (one.side == 2 and one.product_id in (held or set())) for one in signals
    )
    assert [row["sequence"] for row in recommendations] == list(range(1, len(recommendations) + 1))
    events = await world.events()
    assert [row["sequence"] for row in events] == list(range(1, len(recommendations) + 1))
    for row in outcomes.values():
        assert bool(row["reasons"]) == (row["outcome"] == "SKIPPED")
        wanted = ids.recommendation_id_of_signal(row["signal_id"]) if row["outcome"] == "RECOMMENDED" else None
        assert row["recommendation_id"] == wanted


async def test_every_signal_gets_an_outcome_and_the_watermark_follows(world: World) -> None:
    await world.hold("C02-USD", "0.5")
    signals = one_per_product(30)
    await world.signals.publish(*signals, watermark=AS_OF)
    async with world.bridge():
        await world.until("SELECT count(*) = 1 AS ok FROM watermarks WHERE stage = 'bridge' AND sequence = 11")
        await check_all_told(world, signals, {"C02-USD"})
        sell = next(row for row in await world.recommendations() if row["side"] == "SELL")
    assert (sell["product_id"], sell["size"], sell["state"]) == ("C02-USD", D("0.5"), "PROPOSED")
    assert sell["evidence"]["features"] == [float(n) for n in range(51)]
    assert sell["profile"] == "EXERCISE"


async def test_a_broken_stream_is_resumed_after_the_cursor(world: World) -> None:
    world.signals.batch, world.signals.breaks = 4, [1, 0, 3, 2]
    signals = one_per_product(40)
    await world.signals.publish(*signals)
    async with world.bridge():
        await world.until_cursor(40)
    assert world.signals.asked == [0, 4, 4, 16, 24]
    await check_all_told(world, signals)


async def test_a_killed_bridge_leaves_no_gap_and_no_second_recommendation(world: World) -> None:
    world.signals.batch = 1
    signals = one_per_product(40)
    await world.signals.publish(*signals[:10])
    for upto in (3, 12, 20):
        async with world.bridge():
            await world.until_cursor(upto)
            await world.signals.publish(*signals[len(world.signals.signals) : len(world.signals.signals) + 10])
    async with world.bridge(), world.bridge():
        await world.until_cursor(40)
    await check_all_told(world, signals)


async def test_a_signal_service_that_comes_back_is_found(database: Any) -> None:
    first, second = StandInSignals(), StandInSignals()
    signals = one_per_product(6)
    await first.publish(*signals[:3])
    await second.publish(*signals)
    async with signal_server(first) as port:
        world = World(database, first, port)
        bridge = world.bridge()
        stub = await bridge.__aenter__()
        await world.until_cursor(3)
    async with signal_server(second, port):
        await world.until_cursor(6)
        assert second.asked == [3]
        assert stub.service.exit_code == 0
        await bridge.__aexit__(None, None, None)
    await check_all_told(world, signals)


async def test_outcomes_recommendations_and_cursor_move_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the statements of one frame leaves nothing of it; its repetition gives what it would have given."""
    settings = BridgeSettings(**world.database.settings_of("bridge"), port=0)
    kit: Kit[BridgeSettings] = Kit(settings)
    consumer = SignalConsumer(settings, kit)
    signals = [signal_of(one) for one in one_per_product(6)]
    try:
        with monkeypatch.context() as crash:

            async def gone(*_: Any) -> None:
                raise RuntimeError("the process dies here")

            crash.setattr(store, "insert_recommendations", gone)
            with suppress(RuntimeError):
                await consumer.take(signals)
        assert (await world.outcomes(), await world.recommendations(), await world.cursor()) == ({}, [], 0)
        await consumer.take(signals)
        before = (await world.outcomes(), await world.recommendations(), await world.cursor())
        await consumer.take(signals[2:])
        await consumer.take(signals[:4])
        assert (await world.outcomes(), await world.recommendations(), await world.cursor()) == before
        assert before[2] == 6
        assert len(before[1]) == 2
    finally:
        await kit.close()


async def test_two_bars_of_one_product_in_one_frame_are_one_recommendation(world: World) -> None:
    pair = [signal(1, "BUY", as_of=AS_OF - HOUR), signal(2, "BUY", as_of=AS_OF)]
    await world.watermark("signal", AS_OF)
    await world.signals.publish(*pair)
    async with world.bridge(stale_signal_bars=5):
        await world.until_cursor(2)
        outcomes = await world.outcomes()
    codes = [[reason["code"] for reason in row["reasons"]] for row in outcomes.values()]
    assert sorted(codes) == [[], ["DUPLICATE_OPEN"]]
    assert len(await world.recommendations()) == 1


async def test_staleness_counts_against_the_newest_bar_decided(world: World) -> None:
    await world.watermark("signal", AS_OF + 2 * HOUR)
    await world.hold("C01-USD", "1")
    await world.signals.publish(signal(1, "BUY", "C00-USD"), signal(2, "SELL", "C01-USD"))
    async with world.bridge():
        await world.until_cursor(2)
        outcomes = {row["product_id"]: row for row in (await world.outcomes()).values()}
    assert outcomes["C00-USD"]["reasons"][0]["code"] == "STALE_SIGNAL"
    assert outcomes["C00-USD"]["reasons"][0]["observed"] == "2"
    assert outcomes["C01-USD"]["outcome"] == "RECOMMENDED"


async def test_in_a_replay_the_life_is_market_time(world: World) -> None:
    await world.signals.publish(signal(1))
    async with world.bridge(venue="REPLAY", recommendation_ttl_seconds=120):
        # A bar's recommendations come at once, when all of its signals are there.
        await world.signals.publish(watermark=AS_OF)
        await world.until_cursor(1)
        recommendation = (await world.recommendations())[0]
    assert recommendation["life_clock"] == "MARKET"
    assert (recommendation["expire_at"] - AS_OF).total_seconds() == 120


async def test_a_signal_it_cannot_read_stops_entries_and_nothing_else(world: World) -> None:
    """The signal waits where it is; the service lives, says so in `entries`, and an operator can sell."""
    await world.list_product()
    await world.hold("ETH-USD", "2")
    good = signal(1, "HOLD", "C00-USD")
    await world.signals.publish(good, signal(2, side="BUY", reference_price={"value": "dear"}))
    world.signals.batch = 1
    async with world.bridge() as stub:
        await world.until_cursor(1)

        async def tried_again() -> bool:
            return len(world.signals.asked) >= 4

        await eventually(tried_again)
        sell = pb.CreateRecommendationRequest(request_id=str(ids.new_request_id()), product_id="ETH-USD", side=2)
        response = await stub.CreateRecommendation(sell)
        assert response.record.recommendation.base_size.value == "2.000000000000000000"
        assert not stub.service.stopped
        world.signals.signals[1] = signal(2, "BUY")
        await world.until_cursor(2)


async def test_health_tells_entries_from_the_service(world: World) -> None:
    async with (
        world.bridge(signal_address="127.0.0.1:1") as stub,
        grpc.aio.insecure_channel(f"127.0.0.1:{stub.service.port}") as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        name = "trading.bridge.v1.BridgeService"

        async def serving(of: str = name) -> bool:
            answer = await health.Check(health_pb2.HealthCheckRequest(service=of), timeout=2)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        await eventually(serving)
        assert not await serving(f"{name}/entries")
