"""BridgeService over a real socket: a recommendation is stored once, bad input stores nothing, watches lose nothing."""

import asyncio
import math
from decimal import Decimal
from typing import Any
from uuid import uuid4

import grpc
from refusals import refused
from sqlalchemy import insert, select, text

from meshkit import paging
from schema.operations import stored_requests
from schema.recommendations import trade_recommendations
from schema.signals import models
from tests.bridge.asking import BUY, NOWHERE, recommendation
from tests.bridge.bridge_world import AS_OF, HOUR, World, signal
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.common.v1 import decimal_pb2
from trading.common.v1.recommendation_pb2 import ExitPlan

D = Decimal


async def stored(world: World) -> tuple[int, int]:
    return len(await world.recommendations()), len(await world.run(select(stored_requests)))


async def test_a_sell_needs_nothing_but_the_ledger(world: World) -> None:
    """No signal service, no candle, no market time, nobody at all: what is held can be sold."""
    await world.list_product()
    await world.hold("ETH-USD", "0.50005", cost="1000")
    async with world.bridge(signal_address=NOWHERE) as stub:
        record = (await stub.CreateRecommendation(recommendation(note="get out"))).record
    assert D(record.recommendation.base_size.value) == D("0.5")
    assert record.recommendation.priority == 1.0
    assert record.recommendation.note == "get out"
    assert not record.recommendation.HasField("evidence")
    assert D(record.recommendation.reference_price.value) > 1000
    assert (record.state, record.decided_by) == (1, "bridge")
    assert [row["to_state"] for row in await world.events()] == ["PROPOSED"]


async def test_a_sell_may_be_smaller_and_is_never_larger_than_what_is_held(world: World) -> None:
    await world.list_product()
    await world.hold("ETH-USD", "2")
    async with world.bridge(signal_address=NOWHERE) as stub:
        sizes = [
            (await stub.CreateRecommendation(recommendation(base_size=size))).record.recommendation.base_size.value
            for size in ("0.75", "2", "900000")
        ]
    assert [D(size) for size in sizes] == [D("0.75"), D(2), D(2)]


async def test_a_buy_needs_a_price_and_a_market_time(world: World) -> None:
    await world.list_product()
    async with world.bridge(signal_address=NOWHERE) as stub:
        error = await refused(stub.CreateRecommendation(recommendation(BUY)))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STALE_DATA")
        await world.candle("ETH-USD", "2500.25")
        assert (await refused(stub.CreateRecommendation(recommendation(BUY)))).reason == "STALE_DATA"
        await world.watermark("market", AS_OF)
        made = (await stub.CreateRecommendation(recommendation(BUY))).record.recommendation
        other = (await stub.CreateRecommendation(recommendation(BUY, quote_size="12.50"))).record.recommendation
    assert D(made.quote_size.value) == 100
    assert D(made.reference_price.value) == D("2500.25")
    assert made.as_of.ToDatetime() == AS_OF.replace(tzinfo=None)
    assert D(other.quote_size.value) == D("12.5")


async def test_the_same_request_is_one_recommendation(world: World) -> None:
    await world.list_product()
    await world.hold("ETH-USD", "2")
    asked = recommendation()
    async with world.bridge(signal_address=NOWHERE) as stub:
        answers = await asyncio.gather(*(stub.CreateRecommendation(asked) for _ in range(6)))
        assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
        async with world.bridge(signal_address=NOWHERE) as again:
            assert await again.CreateRecommendation(asked) == answers[0]
        error = await refused(stub.CreateRecommendation(recommendation(request_id=asked.request_id, base_size="1")))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert await stored(world) == (1, 1)


async def test_nothing_held_is_said_and_nothing_stored(world: World) -> None:
    await world.list_product()
    asked = recommendation()
    async with world.bridge(signal_address=NOWHERE) as stub:
        error = await refused(stub.CreateRecommendation(asked))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_HELD")
        assert await stored(world) == (0, 0)
        # A refusal is no answer for good: the same request may succeed when something is held.
        await world.hold("ETH-USD", "1")
        await stub.CreateRecommendation(asked)
    assert await stored(world) == (1, 1)


async def test_an_unknown_product_is_a_violation(world: World) -> None:
    async with world.bridge(signal_address=NOWHERE) as stub:
        error = await refused(stub.CreateRecommendation(recommendation(BUY, "NO-USD")))
    assert (error.reason, [v.rule for v in error.violations]) == ("INVALID_REQUEST", ["UNKNOWN_PRODUCT"])
    assert await stored(world) == (0, 0)


BAD = [
    ({"request_id": "x"}, {"request_id"}),
    ({"request_id": ""}, {"request_id"}),
    ({"product": "btc"}, {"product_id"}),
    ({"side": 0}, {"side"}),
    ({"side": 77}, {"side"}),
    ({"base_size": "0"}, {"base_size"}),
    ({"base_size": "-1"}, {"base_size"}),
    ({"base_size": "NaN"}, {"base_size"}),
    ({"base_size": "1e9"}, {"base_size"}),
    ({"base_size": "9" * 20}, {"base_size"}),
    ({"base_size": ""}, {"base_size"}),
    ({"quote_size": "5"}, {"quote_size"}),
    ({"note": "x" * 201}, {"note"}),
    ({"note": "a\x00b"}, {"note"}),
    (
        {"request_id": "x", "product": "?", "base_size": "inf", "quote_size": "1", "note": "y" * 300},
        {"request_id", "product_id", "base_size", "quote_size", "note"},
    ),
]


async def test_a_buy_may_bring_its_own_way_out(world: World) -> None:
    await world.list_product()
    await world.candle("ETH-USD", "2500.25")
    await world.watermark("market", AS_OF)

    def plan(stop: str, target: str, hours: int | None = None) -> ExitPlan:
        made = ExitPlan(stop_price=decimal_pb2.Decimal(value=stop), target_price=decimal_pb2.Decimal(value=target))
        if hours is not None:
            made.exit_time.FromDatetime(AS_OF + hours * HOUR)
        return made

    bad = [
        (plan("2500.25", "2600"), {"exit_plan.stop_price": "WRONG_SIDE"}),
        (plan("2400", "2500"), {"exit_plan.target_price": "WRONG_SIDE"}),
        (plan("2600", "2400"), {"exit_plan.stop_price": "WRONG_SIDE"}),
        (plan("2400", "2600", 0), {"exit_plan.exit_time": "PAST"}),
        (plan("0", "2600"), {"exit_plan.stop_price": "OUT_OF_RANGE"}),
        (ExitPlan(), {"exit_plan.stop_price": "REQUIRED", "exit_plan.target_price": "REQUIRED"}),
    ]
    async with world.bridge(signal_address=NOWHERE) as stub:
        for given, rules in bad:
            error = await refused(stub.CreateRecommendation(recommendation(BUY, exit_plan=given)))
            assert {violation.field: violation.rule for violation in error.violations} == rules
        assert await stored(world) == (0, 0)
        good = plan("2400.5", "2600", 24)
        made = (await stub.CreateRecommendation(recommendation(BUY, exit_plan=good))).record
        again = await stub.GetRecommendation(
            pb.GetRecommendationRequest(recommendation_id=made.recommendation.recommendation_id)
        )
    assert again.record == made
    found = made.recommendation.exit_plan
    assert (D(found.stop_price.value), D(found.target_price.value)) == (D("2400.5"), D(2600))
    assert found.exit_time == good.exit_time


async def test_what_a_signal_buys_is_left_where_its_label_ends(world: World) -> None:
    """Barriers of 1.5 deviations and a horizon of 12 bars: those of the model's manifest."""
    await world.run(
        insert(models).values(
            model_version="m1", manifest={"label": {"barrier_width": 1.5, "horizon_bars": 12}}, manifest_sha256="x"
        )
    )
    await world.signals.publish(
        signal(1), signal(2, product="BTC-USD", sigma_horizon=0.0), signal(3, "SELL", "SOL-USD")
    )
    await world.signals.publish(signal(4, product="LTC-USD", model_version="of nobody"))
    async with world.bridge() as stub:
        await world.until_cursor(4)
        records = (await stub.ListRecommendations(pb.ListRecommendationsRequest())).records
    by_product = {one.recommendation.product_id: one.recommendation for one in records}
    found = by_product["ETH-USD"].exit_plan
    assert math.isclose(float(found.stop_price.value), 2500.5 * math.exp(-0.03), rel_tol=1e-8)
    assert math.isclose(float(found.target_price.value), 2500.5 * math.exp(0.03), rel_tol=1e-8)
    assert found.exit_time.ToDatetime() == (AS_OF + 12 * HOUR).replace(tzinfo=None)
    # Without a deviation, or of a model that nobody knows, the executor's settings decide.
    assert not any(by_product[name].HasField("exit_plan") for name in ("BTC-USD", "LTC-USD"))


async def test_bad_input_tells_all_violations_and_stores_nothing(world: World) -> None:
    await world.list_product()
    await world.hold("ETH-USD", "1")
    async with world.bridge(signal_address=NOWHERE) as stub:
        for given, fields in BAD:
            error = await refused(stub.CreateRecommendation(recommendation(**given)))  # type: ignore[arg-type]
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), given
            assert {violation.field for violation in error.violations} == fields, given
        for call in (
            stub.GetRecommendation(pb.GetRecommendationRequest(recommendation_id="7")),
            stub.ListRecommendations(pb.ListRecommendationsRequest(page_size=-1, product_id="x", state=99)),
        ):
            assert (await refused(call)).reason == "INVALID_REQUEST"
        missing = await refused(stub.GetRecommendation(pb.GetRecommendationRequest(recommendation_id=str(uuid4()))))
        assert missing.code == grpc.StatusCode.NOT_FOUND
    assert await stored(world) == (0, 0)


async def test_pages_hold_every_row_once_even_of_one_moment(world: World) -> None:
    await world.list_product()
    await world.hold("ETH-USD", "1")
    async with world.bridge(signal_address=NOWHERE) as stub:
        made = [(await stub.CreateRecommendation(recommendation())).record for _ in range(7)]
        await world.run(text("UPDATE trade_recommendations SET created_at = '2025-01-01T00:00:00.123456Z'"))
        seen: list[str] = []
        token = ""
        for _ in range(20):
            page = await stub.ListRecommendations(pb.ListRecommendationsRequest(page_size=2, page_token=token))
            seen += [record.recommendation.recommendation_id for record in page.records]
            token = page.next_page_token
            # A newer row that comes between two pages moves nothing.
            if len(seen) == 2:
                await stub.CreateRecommendation(recommendation())
            if not token:
                break
        assert sorted(seen) == sorted(record.recommendation.recommendation_id for record in made)
        only = await stub.ListRecommendations(pb.ListRecommendationsRequest(product_id="BTC-USD"))
        assert not only.records
        proposed = await stub.ListRecommendations(pb.ListRecommendationsRequest(state=1))
        assert len(proposed.records) == 8


FOREIGN_TOKENS = [
    "garbage",
    paging.encode({"as_of": "2025-01-01T00:00:00+00:00", "product": "x"}, "recommendations||0"),
    paging.encode({"at": "yesterday", "id": str(uuid4())}, "recommendations||0"),
    paging.encode({"at": "2025-01-01T00:00:00", "id": str(uuid4())}, "recommendations||0"),
    paging.encode({"at": "2025-01-01T00:00:00+00:00", "id": "7"}, "recommendations||0"),
    paging.encode({"at": "2025-01-01T00:00:00+00:00", "id": str(uuid4())}, "recommendations|ETH-USD|0"),
]


async def test_a_foreign_page_token_is_refused(world: World) -> None:
    async with world.bridge(signal_address=NOWHERE) as stub:
        for token in FOREIGN_TOKENS:
            error = await refused(stub.ListRecommendations(pb.ListRecommendationsRequest(page_token=token)))
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_POSITION"), token


async def read(call: Any, wanted: str) -> Any:
    """The next frame of a kind; heartbeats between are passed by."""
    async with asyncio.timeout(60):
        while True:
            frame = await call.read()
            assert frame is not grpc.aio.EOF
            if frame.WhichOneof("frame") == wanted:
                return getattr(frame, wanted)


async def test_a_watch_resumes_and_the_watermark_comes_behind_its_rows(world: World) -> None:
    await world.signals.publish(signal(1, product="C00-USD"), signal(2, product="C01-USD"), watermark=AS_OF)
    async with world.bridge() as stub:
        await world.until("SELECT count(*) = 1 AS ok FROM watermarks WHERE stage = 'bridge'")
        call = stub.WatchRecommendations(pb.WatchRecommendationsRequest(after_sequence=0))
        batch = await read(call, "batch")
        assert [record.sequence for record in batch.records] == [1, 2]
        watermark = await read(call, "watermark")
        assert (watermark.as_of.ToDatetime(), watermark.sequence) == (AS_OF.replace(tzinfo=None), 2)
        fresh = stub.WatchRecommendations(pb.WatchRecommendationsRequest())
        await read(fresh, "watermark")
        later = AS_OF + HOUR
        await world.signals.publish(signal(3, product="C02-USD", as_of=later), watermark=later)
        for watch in (call, fresh):
            assert [record.sequence for record in (await read(watch, "batch")).records] == [3]
            assert (await read(watch, "watermark")).as_of.ToDatetime() == later.replace(tzinfo=None)
            watch.cancel()
        # A row that changed is sent once, as it stands now.
        await world.run(
            trade_recommendations.update()
            .where(trade_recommendations.c.sequence == 1)
            .values(sequence=4, state="EXPIRED", decided_by="orchestrator")
        )
        again = stub.WatchRecommendations(pb.WatchRecommendationsRequest(after_sequence=1))
        assert [record.sequence for record in (await read(again, "batch")).records] == [2, 3, 4]
        again.cancel()


async def test_a_position_of_the_future_is_refused(world: World) -> None:
    async with world.bridge(signal_address=NOWHERE) as stub:
        for after in (1, 2**63, 2**64 - 1):
            call = stub.WatchRecommendations(pb.WatchRecommendationsRequest(after_sequence=after))
            error = await refused(call.read())
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_POSITION")


async def test_figures_of_a_signal_survive_the_row(world: World) -> None:
    sent = signal(1, edge=0.1 + 0.2, expected_net=-1e-300, sigma_horizon=math.pi)
    await world.signals.publish(sent)
    async with world.bridge() as stub:
        await world.until_cursor(1)
        record = (await stub.ListRecommendations(pb.ListRecommendationsRequest())).records[0]
    evidence = record.recommendation.evidence
    assert (evidence.edge, evidence.expected_net, evidence.sigma_horizon) == (0.1 + 0.2, -1e-300, math.pi)
    assert list(evidence.features) == list(sent.features)
    assert record.recommendation.reference_price.value == "2500.500000000000000000"
