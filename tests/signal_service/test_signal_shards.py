"""Several processes that share the products decide what one would, and none of them speaks for another."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given as generated
from hypothesis import strategies as st
from sqlalchemy import select
from waiting import eventually

from modelkit.loading import LoadedModel
from schema.operations import watermarks
from schema.signals import feature_states, model_drift
from svc_signal.bars import all_shares
from svc_signal.drift.monitor import CHECK_BARS
from svc_signal.settings import SignalSettings
from svc_signal.shard import Shard
from tests.signal.signal_series import FIRST_BAR
from tests.signal_service.live_bars import next_bar, of_bar, same, truth
from tests.signal_service.signal_world import BARS, PRODUCTS, World, close_of
from tests.support.arriving import Arriving
from tradekit.services import SIGNAL
from trading.signal.v1 import signal_service_pb2 as pb

FIRST = BARS - 60
BOTH = (Shard(0, 2), Shard(1, 2))


def of(shard: Shard) -> dict[str, int]:
    """Its settings."""
    return {"signal_shards": shard.count, "signal_shard": shard.index}


async def reached(world: World, shard: Shard) -> Any:
    """The time up to which a share is decided."""
    rows = await world.run(select(watermarks.c.as_of).where(watermarks.c.stage == shard.stage))
    return rows[0]["as_of"] if rows else None


async def until_reached(world: World, shard: Shard, bar: int) -> None:
    async def there() -> bool:
        return bool(await reached(world, shard) == close_of(bar))

    await eventually(there)


@generated(st.sets(st.from_regex(r"[A-Z]{2,6}-USD", fullmatch=True), max_size=60), st.integers(1, 64))
def test_every_product_is_of_one_share(products: set[str], count: int) -> None:
    shares = [Shard(index, count).of(products) for index in range(count)]
    assert sorted(product for share in shares for product in share) == sorted(products)
    assert Shard().of(products) == tuple(sorted(products))


def test_a_share_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"SIGNAL_SHARD=2 is not below SIGNAL_SHARDS=2.*write 0 to 1"):
        SignalSettings(port=0, signal_shards=2, signal_shard=2)


async def test_two_shares_decide_what_one_process_decides(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    assert all(shard.of(PRODUCTS) for shard in BOTH), "each has something to do"
    await world.store(0, FIRST)
    await world.complete(FIRST)
    async with AsyncExitStack() as running:
        stubs = [await running.enter_async_context(world.service(**given, **of(shard))) for shard in BOTH]
        await world.until_decided(FIRST)
        # A day and more: the check for drift is of all products, and is taken once.
        for bar in range(FIRST + 1, FIRST + CHECK_BARS + 3):
            rows = sorted(await next_bar(world, bar), key=lambda row: str(row["product_id"]))
            same(rows, await truth(world, bar, model, sorted(PRODUCTS)))
        # Whichever of them is asked tells of all products.
        for stub in stubs:
            answer = await stub.GenerateSignals(pb.GenerateSignalsRequest(request_id=str(uuid4())))
            assert sorted(signal.product_id for signal in answer.signals) == sorted(PRODUCTS)
            assert {signal.as_of.seconds for signal in answer.signals} == {int(close_of(bar).timestamp())}
    checks = await world.run(select(model_drift.c.as_of, model_drift.c.report))
    [check] = [row for row in checks if row["as_of"] > close_of(FIRST)]
    assert (check["as_of"].timestamp() // 3600 - 1) // CHECK_BARS > (FIRST_BAR + FIRST) // CHECK_BARS
    since = (close_of(FIRST), check["as_of"])
    spoken = [row for row in await world.signals() if since[0] <= row["as_of"] <= since[1] and row["confidence"] > 0]
    assert check["report"]["part"]["signals"] == len(spoken)
    assert {row["shard"] for row in await world.run(select(feature_states.c.shard))} == {"0/2", "1/2"}


async def test_a_share_that_is_away_holds_up_the_watermark_and_nothing_else(
    world: World, given: dict[str, Any], model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, away = BOTH
    await world.store(0, FIRST)
    await world.complete(FIRST)
    async with world.service(**given, **of(here)) as stub:
        async with world.service(**given, **of(away)):
            await world.until_decided(FIRST)
        watch = Arriving(stub.WatchSignals(pb.WatchSignalsRequest(after_sequence=len(PRODUCTS)), timeout=120))
        for bar in (FIRST + 1, FIRST + 2):
            await world.store(bar, bar)
            await world.complete(bar)
            await until_reached(world, here, bar)
        assert await reached(world, Shard()) == close_of(FIRST), "the stage's watermark means all products"
        own = [row["product_id"] for row in of_bar(await world.signals(), FIRST + 2)]
        assert own == list(here.of(PRODUCTS))
        # What is decided is told at once, exits among it.
        told = await asyncio.wait_for(_first(watch, 2 * len(own)), 30)
        monkeypatch.setattr(all_shares, "WAIT_SECONDS", 0.2)
        entries = health_pb2.HealthCheckRequest(service=f"{SIGNAL.full_name}/entries")

        async def closed() -> bool:
            answer = await health_pb2_grpc.HealthStub(stub.channel).Check(entries)
            return bool(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING)

        await eventually(closed)
        with pytest.raises(grpc.aio.AioRpcError, match="another signal process of SIGNAL_SHARDS is behind") as refused:
            await stub.GenerateSignals(pb.GenerateSignalsRequest(request_id=str(uuid4())))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        async with world.service(**given, **of(away)):
            rows = of_bar(await world.until_decided(FIRST + 2), FIRST + 2)
        same(
            sorted(rows, key=lambda row: str(row["product_id"])), await truth(world, FIRST + 2, model, sorted(PRODUCTS))
        )
        # Who watches one of them has everything in order, and a watermark only once nothing of its bar is missing.
        told += await asyncio.wait_for(_until_watermark(watch, FIRST + 2), 30)
        stored = [row["sequence"] for row in await world.signals()]
        assert told == [sequence for sequence in stored if sequence > len(PRODUCTS)]


async def _first(watch: Any, count: int) -> list[int]:
    told: list[int] = []
    while len(told) < count:
        frame = await watch.read()
        assert frame.WhichOneof("frame") in ("batch", "heartbeat", "watermark"), MessageToDict(frame)
        assert frame.WhichOneof("frame") != "watermark" or frame.watermark.as_of.seconds <= int(
            close_of(FIRST).timestamp()
        )
        told += [signal.sequence for signal in frame.batch.signals]
    return told


async def _until_watermark(watch: Any, bar: int) -> list[int]:
    told: list[int] = []
    while True:
        frame = await watch.read()
        kind = frame.WhichOneof("frame")
        if kind == "watermark":
            if frame.watermark.as_of.seconds == int(close_of(bar).timestamp()):
                return told
        elif kind == "batch":
            told += [signal.sequence for signal in frame.batch.signals]
        else:
            assert kind == "heartbeat", MessageToDict(frame)


async def test_the_number_of_shares_may_change(world: World, given: dict[str, Any], model: LoadedModel) -> None:
    await world.store(0, FIRST)
    await world.complete(FIRST)
    bar = FIRST
    for layout in ((Shard(),), BOTH, tuple(Shard(index, 3) for index in range(3)), (Shard(),), BOTH):
        async with AsyncExitStack() as running:
            for shard in layout:
                await running.enter_async_context(world.service(**given, **of(shard)))
            await world.until_decided(bar)
            for _ in range(2):
                bar += 1
                rows = sorted(await next_bar(world, bar), key=lambda row: str(row["product_id"]))
                same(rows, await truth(world, bar, model, sorted(PRODUCTS)))


async def test_bars_that_were_decided_in_part_are_completed_by_whoever_comes(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    """One of two is away for two bars; then one process has all the products, then three share them."""
    await world.store(0, FIRST)
    await world.complete(FIRST)
    async with world.service(**given, **of(BOTH[0])):
        async with world.service(**given, **of(BOTH[1])):
            await world.until_decided(FIRST)
        for bar in (FIRST + 1, FIRST + 2):
            await world.store(bar, bar)
            await world.complete(bar)
            await until_reached(world, BOTH[0], bar)
    async with world.service(**given, signal_shards=3, signal_shard=1):
        await until_reached(world, Shard(1, 3), FIRST + 2)
    async with world.service(**given):
        await world.until_decided(FIRST + 2)
        await next_bar(world, FIRST + 3)
    rows = await world.signals()
    for bar in range(FIRST + 1, FIRST + 4):
        found = sorted(of_bar(rows, bar), key=lambda row: str(row["product_id"]))
        same(found, await truth(world, bar, model, sorted(PRODUCTS)))


async def test_processes_that_share_the_products_differently_decide_each_once(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    """As in a rollout that changes the number: nobody fails, nothing is left out, nothing is decided twice."""
    await world.store(0, FIRST)
    await world.complete(FIRST)
    async with AsyncExitStack() as running:
        for shard in (Shard(), *BOTH):
            await running.enter_async_context(world.service(**given, **of(shard)))
        await world.until_decided(FIRST)
        for bar in range(FIRST + 1, FIRST + 13):
            await next_bar(world, bar)
        for shard in (Shard(), *BOTH):
            await until_reached(world, shard, bar)
    rows = await world.signals()
    for bar in range(FIRST + 1, FIRST + 13):
        found = sorted(of_bar(rows, bar), key=lambda row: str(row["product_id"]))
        same(found, await truth(world, bar, model, sorted(PRODUCTS)))
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
