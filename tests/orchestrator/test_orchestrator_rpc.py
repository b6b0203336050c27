"""OrchestratorService over a real socket: the funnel counts rows, watches have no gaps, explanations are complete."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
from refusals import refused
from sqlalchemy import insert
from waiting import eventually

from modelkit.features.definition import NAMES, feature_set_hash
from schema.market import crypto_prices
from schema.recommendations import llm_validation, signal_outcomes
from schema.signals import trading_signals
from tests.orchestrator.orchestrator_world import HOUR, World
from tests.orchestrator.stand_ins import AS_OF
from tests.support.stored import store_order
from tradekit import ids, wire
from trading.orchestrator.v1 import orchestrator_service_pb2 as pb


def review_row(item: str, reviewer: str, enforced: str | None) -> dict[str, Any]:
    return {
        "validation_id": ids.validation_id(UUID(item)),
        "recommendation_id": UUID(item),
        "product_id": "C000-USD",
        "reviewer": reviewer,
        "outcome": "APPROVE",
        "enforced": enforced,
        "mode": "SHADOW",
        "reasons": [],
        "request_hash": "x",
        "inputs": {},
        "options": {},
        "latency_ms": 1.0,
        "timings": {},
    }


def candle_row(source: str, number: int) -> dict[str, Any]:
    """The one before AS_OF, at it, and so on."""
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1)
    start = AS_OF + (number - 1) * HOUR
    return {
        "product_id": "C000-USD",
        "granularity": 3600,
        "start": start,
        "source": source,
        "sequence": number + 1,
    } | prices


def signal_row(product: str, sequence: int) -> dict[str, Any]:
    return {
        "signal_id": ids.signal_id("main", product, 3600, AS_OF - HOUR, "m1"),
        "run_id": "main",
        "product_id": product,
        "granularity": 3600,
        "bar_start": AS_OF - HOUR,
        "as_of": AS_OF,
        "side": "BUY",
        "confidence": 0.7,
        "p_down": 0.1,
        "p_neutral": 0.2,
        "p_up": 0.7,
        "edge": 0.6,
        "expected_net": 0.01,
        "sigma_horizon": 0.02,
        "reference_price": 2500,
        "model_version": "m1",
        "feature_set_hash": "f",
        "profile": "EXERCISE",
        "reasons": [],
        "features": [],
        "sequence": sequence,
    }


async def test_the_funnel_counts_the_rows(world: World) -> None:
    items = await world.propose(3, as_of=AS_OF, wait_for_market=AS_OF + HOUR)
    await world.propose(1, as_of=AS_OF - HOUR, side="SELL", wait_for_market=AS_OF + HOUR)
    await world.write_order(items[0], "UNKNOWN")
    await world.write_order(items[1], "FILLED")
    for statement in (
        insert(llm_validation).values(review_row(items[0], "rules", "APPROVE")),
        insert(llm_validation).values(review_row(items[0], "ollama", None)),
    ):
        await world.run(statement)
    for number, source in enumerate(("file:history", "file:history", "exchange:SIMULATED")):
        await world.run(insert(crypto_prices).values(candle_row(source, number)))
    await world.watermark("market", AS_OF)
    await world.watermark("signal", AS_OF - HOUR)
    async with world.orchestrator() as stub:
        funnel = await stub.GetPipeline(pb.GetPipelineRequest())
        later = await stub.GetPipeline(pb.GetPipelineRequest(from_time=wire.timestamp_message(AS_OF)))
    stages = {stage.stage: stage for stage in funnel.stages}
    assert [(one.outcome, one.count) for one in stages["recommendations"].outcomes] == [
        ("BUY PROPOSED", 3),
        ("SELL PROPOSED", 1),
    ]
    assert {one.outcome: one.count for one in stages["validations"].outcomes} == {
        "rules APPROVE": 1,
        "ollama APPROVE": 1,
    }
    assert {one.outcome: one.count for one in stages["orders"].outcomes} == {"BUY UNKNOWN": 1, "BUY FILLED": 1}
    for stage in funnel.stages:
        assert stage.total == sum(one.count for one in stage.outcomes)
    assert (funnel.open_recommendations, funnel.waiting_recommendations) == (4, 4)
    assert (funnel.open_orders, funnel.unknown_orders, funnel.resting_orders) == (1, 1, 0)
    candles = [(one.outcome, one.reason, one.count) for one in stages["candles"].outcomes]
    assert candles == [("exchange:SIMULATED", "", 1), ("file:history", "", 2)]
    assert stages["signals"].lag.ToTimedelta() == HOUR
    totals = {stage.stage: stage.total for stage in later.stages}
    assert (totals["recommendations"], totals["candles"]) == (3, 2)


async def test_decisions_are_watched_from_any_position(world: World) -> None:
    await world.watermark("bridge", AS_OF)
    (item,) = await world.propose()
    async with world.orchestrator() as stub:
        await world.until_ended(item)
        for after in range(4):
            call = stub.WatchDecisions(pb.WatchDecisionsRequest(after_sequence=after))
            seen: list[int] = []
            async with asyncio.timeout(60):
                while len(seen) < 4 - after:
                    frame = await call.read()
                    seen += [event.sequence for event in frame.batch.decisions]
                    assert {event.recommendation_id for event in frame.batch.decisions} <= {item}
            assert seen == list(range(after + 1, 5))
            call.cancel()

        async def passed() -> bool:
            frame = await stub.GetPipeline(pb.GetPipelineRequest())
            marks = {stage.stage: stage.watermark for stage in frame.stages}
            return marks["recommendations"] == wire.timestamp_message(AS_OF)

        await eventually(passed)
        for after in (5, 2**64 - 1):
            call = stub.WatchDecisions(pb.WatchDecisionsRequest(after_sequence=after))
            error = await refused(call.read())
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_POSITION")


async def test_the_story_of_an_entry_ends_with_what_sold_it(world: World) -> None:
    (item,) = await world.propose()
    async with world.orchestrator() as stub:
        await world.until_ended(item)
        entry = await store_order(
            world.database.engine,
            "BTC-USD",
            "BUY",
            "FILLED",
            AS_OF,
            recommendation_id=UUID(item),
            filled_size=2,
            filled_value=9,
        )
        protection = {
            "purpose": "PROTECTION",
            "entry_order_id": entry,
            "recommendation_id": None,
            "order_type": "BRACKET",
        }
        terms = {"stop_price": 1, "target_price": 9, "exit_time": AS_OF}
        await store_order(
            world.database.engine, "BTC-USD", "SELL", "CANCELLED", AS_OF, **protection, **terms, filled_size=1
        )
        exits = uuid4()
        for product, filled, of in (
            ("ETH-USD", 2, None),
            ("BTC-USD", 0, None),
            ("BTC-USD", 1, exits),
            ("BTC-USD", 1, None),
        ):
            note = {"recommendation_id": of, "filled_size": filled, "note": "by hand"}
            await store_order(world.database.engine, product, "SELL", "FILLED", AS_OF, **note)
        story = await stub.ExplainRecommendation(pb.ExplainRecommendationRequest(recommendation_id=item))
        told = [step.summary for step in story.steps if step.stage == "order"]
        assert len(told) == 3 and told[-1].startswith(
            f"Sold by recommendation {exits}. SIMULATED order FILLED: 1 filled"
        )


async def test_stories_of_recommendations_signals_and_orders(world: World) -> None:
    skipped, pending = signal_row("C900-USD", 1), signal_row("C901-USD", 2)
    values = [number / 7 for number in range(len(NAMES))]
    skipped |= {"feature_set_hash": feature_set_hash(3600), "features": values}
    pending |= {"features": values}
    for row in (skipped, pending):
        await world.run(insert(trading_signals).values(row))
    await world.run(
        insert(signal_outcomes).values(
            signal_id=skipped["signal_id"],
            product_id="C900-USD",
            side="BUY",
            outcome="SKIPPED",
            reasons=[{"code": "COOLDOWN", "limit": "3", "observed": "1", "unit": "bars", "scope": "product:C900-USD"}],
            as_of=AS_OF,
        )
    )
    (item,) = await world.propose()
    async with world.orchestrator() as stub:
        await world.until_ended(item)
        await world.write_order(item, "FILLED")
        ask = stub.ExplainRecommendation
        story = await ask(pb.ExplainRecommendationRequest(recommendation_id=item))
        # As it happened: here the order is written down after everything else.
        assert [step.stage for step in story.steps] == ["bridge", *["orchestrator"] * 4, "order"]
        assert story.record.state == 4
        assert "EXECUTED by exchange" in story.verdict
        assert await ask(pb.ExplainRecommendationRequest(order_id=str(ids.order_id(UUID(item))))) == story
        none = await ask(pb.ExplainRecommendationRequest(signal_id=str(skipped["signal_id"])))
        assert not none.HasField("record")
        assert "skipped (COOLDOWN)" in none.verdict
        assert [step.outcome for step in none.steps] == ["BUY", "SKIPPED"]
        told = {name: fact for name, fact in none.steps[0].facts.items() if name.startswith("feature")}
        assert told == {f"feature_{name}": f"{value:.6g}" for name, value in zip(NAMES, values, strict=True)}
        soon = await ask(pb.ExplainRecommendationRequest(signal_id=str(pending["signal_id"])))
        assert soon.steps[-1].outcome == "PENDING"
        # Of a set that is not known here no value is given a name.
        assert [fact for name, fact in soon.steps[0].facts.items() if name.startswith("feature")] == [
            "51 of feature set f, which is not known here"
        ]
        for by in ("recommendation_id", "signal_id", "order_id"):
            error = await refused(ask(pb.ExplainRecommendationRequest(**{by: str(uuid4())})))
            assert error.code == grpc.StatusCode.NOT_FOUND
            error = await refused(ask(pb.ExplainRecommendationRequest(**{by: "7; DROP TABLE orders"})))
            assert [violation.field for violation in error.violations] == [by]
        assert (await refused(ask(pb.ExplainRecommendationRequest()))).reason == "INVALID_REQUEST"
        request = pb.GetPipelineRequest()
        request.from_time.seconds = 2**62
        assert (await refused(stub.GetPipeline(request))).reason == "INVALID_REQUEST"
