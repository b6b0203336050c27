"""Every RPC of every service, asked what has the right form and cannot be: repeated, unknown, expired, contradicting."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from generic_client import Outcome, ask, bound, outcome_of, talk
from hostile import UUIDS, faults
from live_mesh import MARKET_START
from sweep_calls import METHODS, TALKS, opening, outcomes, refused, report
from sweep_world import GOOD, World, candle, decimal, fingerprint, new_id, recommendation, timestamp

from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.executor.v1 import executor_service_pb2 as executor
from trading.market.v1 import market_service_pb2 as market
from trading.options.v1 import policy_pb2
from trading.risk.v1 import risk_service_pb2 as risk
from trading.validator.v1 import validator_service_pb2 as validator

pytestmark = pytest.mark.usefixtures("unharmed")


# What a product that is well-formed and unknown comes to; everywhere else it is refused by name.
UNKNOWN_PRODUCT_IS = {
    "SignalService.ListSignals": "OK",
    "BridgeService.ListRecommendations": "OK",
    "ExecutorService.ListOrders": "OK",
    "ExecutorService.CancelOrders": "OK",
    "ExecutorService.ClosePositions": "OK",
    "ValidatorService.ValidateRecommendation": "FAILED_PRECONDITION",
    "RiskService.AssessRecommendation": "FAILED_PRECONDITION",
    "ExecutorService.ExecuteRecommendation": "FAILED_PRECONDITION",
}


@pytest.mark.parametrize("name", [name for name in METHODS if name != "MarketService.ImportCandles"])
async def test_an_unknown_product(world: World, name: str):
    """Lists of it are empty, changed terms of a stored recommendation and anything else are refused.

    A file may hold products that nobody follows, so an import takes them.
    """
    for index, frame in enumerate(opening(name, world)):
        for number, fault in enumerate(faults(frame)):
            if not fault.well_formed:
                continue
            frames = opening(name, world)  # with a request_id of its own
            frames[index] = list(faults(frames[index]))[number].planted(frames[index])
            [outcome] = await outcomes(world, name, [frames])
            expected = UNKNOWN_PRODUCT_IS.get(name, "INVALID_ARGUMENT")
            assert outcome.code == expected and not outcome.faults(), f"{fault.name}: {outcome}"


def answer_of(name: str, frames: list[Any]) -> Any:
    """The same request again: messages are changed by nobody."""
    return [type(frame).FromString(frame.SerializeToString()) for frame in frames]


def another_body(name: str, frames: list[Any]) -> list[Any]:
    """The same request_id (or the same recommendation) with something else in it."""
    changed = answer_of(name, frames)
    last = changed[-1]
    item = last.item if name in TALKS else last
    if name == "MarketService.ImportCandles":
        last.candles.candles[0].close.value = "50001"
    elif name == "MarketService.BackfillCandles":
        last.end_time.seconds -= 3600
    elif "recommendation" in item.DESCRIPTOR.fields_by_name:
        item.recommendation.quote_size.value = "99"
    else:
        item.note += " again"
    return changed


REPLAYED = (
    "BridgeService.CreateRecommendation",
    "ExecutorService.SetTradingState",
    "MarketService.BackfillCandles",
    "MarketService.DeleteCandles",
    "MarketService.ImportCandles",
    "MonitorService.AcknowledgeAlert",
    "OrchestratorService.CancelRecommendation",
    "RiskService.AssessRecommendation",
    "RiskService.SetTradingState",
    "RiskService.StreamAssessments",
    "ValidatorService.StreamValidations",
    "ValidatorService.ValidateRecommendation",
)
# Effects that are known by something else than a body: a bar, the order row, or nothing but the id itself; and changes of
# the champion, which a mesh with one model refuses.
KNOWN_OTHERWISE = {
    "SignalService.GenerateSignals",
    "SignalService.PromoteModel",
    "SignalService.RollbackModel",
    "ExecutorService.ExecuteRecommendation",
    "ExecutorService.Reconcile",
    # Known by the orders themselves: what has ended stays ended, and a close of a product is one order of a derived id.
    "ExecutorService.CancelOrders",
    "ExecutorService.ClosePositions",
    # Known by their previews and by what is there to adopt; their own tests book and repeat them.
    "ExecutorService.AdjustLedger",
    "ExecutorService.AdoptHoldings",
    # Known by positions and by what protects them already.
    "ExecutorService.ProtectPositions",
}


def test_every_effect_is_replayed():
    effects = {
        name
        for name, (_, method) in METHODS.items()
        if method.GetOptions().Extensions[policy_pb2.policy].effect != policy_pb2.EFFECT_READ
    }
    assert effects == {*REPLAYED, *KNOWN_OTHERWISE}


async def final(world: World, name: str, frames: list[Any]) -> Outcome:
    """What the whole request comes to: the last frame of a stream of answers, the answer to a stream's item."""
    service, method = METHODS[name]
    async with world.mesh.channel(service) as channel:
        if name in TALKS:
            async with talk(channel, method, frames[0]) as conversation:
                return await conversation.item(frames[1].item)
        if name != "MarketService.BackfillCandles":
            return await ask(channel, method, frames)
        try:
            return Outcome("OK", response=[one async for one in bound(channel, method)(frames[0], timeout=20)][-1])
        except grpc.aio.AioRpcError as error:
            return outcome_of(error)


@pytest.mark.parametrize("name", REPLAYED)
async def test_a_replayed_request_has_one_effect(world: World, name: str):
    if name == "MonitorService.AcknowledgeAlert" and not world.alert_raised:
        pytest.skip("the monitor has raised no alert yet")
    frames = GOOD[name](world)
    first = await final(world, name, frames)
    assert first.code == "OK", first
    before = await fingerprint(world.mesh)
    again = await final(world, name, answer_of(name, frames))
    assert again.response == first.response
    other = await final(world, name, another_body(name, frames))
    # A recommendation that was reviewed is known by itself, whatever the request's id.
    reviewed = name.startswith("ValidatorService.")
    wanted = ("FAILED_PRECONDITION", "TERMS_DIFFER") if reviewed else ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert (other.code, other.reason) == wanted, other
    assert not other.faults()
    after = await fingerprint(world.mesh)
    if (
        name == "BridgeService.CreateRecommendation"
    ):  # the recommendation is on its way and moves rows: only its number counts
        before, after = ({"recommendations": one["trade_recommendations"].split()[0]} for one in (before, after))
    assert after == before


async def test_an_order_is_not_told_without_its_ticket(world: World):
    """A stranger who repeats an executed recommendation is refused like any other without a ticket."""
    name = "ExecutorService.ExecuteRecommendation"
    recommendation = world.record.recommendation
    request = executor.ExecuteRecommendationRequest(
        request_id=new_id(), recommendation=recommendation, size=world.record.adjusted_size, ticket="no.ticket.atall"
    )
    before = await fingerprint(world.mesh)
    [found] = await outcomes(world, name, [[request]])
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "TICKET_REFUSED"), found
    assert not found.faults()
    assert await fingerprint(world.mesh) == before


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in METHODS
        if name.partition(".")[2]
        in (
            "GetSignal",
            "GetRecommendation",
            "GetOrder",
            "ExplainRecommendation",
            "CancelRecommendation",
            "AcknowledgeAlert",
        )
    ],
)
async def test_ids_of_nothing(world: World, untouched: None, name: str):
    [request] = GOOD[name](world)
    asked = []
    for field in request.DESCRIPTOR.fields:
        if field.name in UUIDS and field.name != "request_id":
            other = type(request).FromString(request.SerializeToString())
            setattr(other, field.name, new_id())
            asked.append([other])
    found = await outcomes(world, name, asked)
    assert found and {(one.code, one.reason) for one in found} == {("NOT_FOUND", "NOT_FOUND")}, [
        str(one) for one in found
    ]


LATE = {"expire_time": timestamp(MARKET_START.replace(minute=0) + timedelta(seconds=1))}


async def test_an_expired_recommendation_gets_nowhere(world: World):
    """Nobody stored it, so it is neither reviewed nor assessed."""
    late = {"request_id": new_id(), "recommendation": recommendation(**LATE)}
    for name, request in (
        ("ValidatorService.ValidateRecommendation", validator.ValidateRecommendationRequest(**late)),
        ("RiskService.AssessRecommendation", risk.AssessRecommendationRequest(**late)),
    ):
        [found] = await outcomes(world, name, [[request]])
        assert (found.code, found.reason) == ("NOT_FOUND", "NOT_FOUND"), found


@pytest.mark.parametrize(
    "name",
    [
        "ValidatorService.ValidateRecommendation",
        "RiskService.AssessRecommendation",
        "ExecutorService.ExecuteRecommendation",
    ],
)
async def test_a_size_of_the_wrong_side(world: World, untouched: None, name: str):
    requests = []
    for wrong in (
        recommendation(quote_size=None, base_size=decimal("1")),
        recommendation(side="SIDE_SELL"),
        recommendation(quote_size=None),
        recommendation(quote_size=decimal("0")),
        recommendation(quote_size=decimal("-1")),
    ):
        [request] = GOOD[name](world)
        request.recommendation.CopyFrom(wrong)
        requests.append([request])
    found = await outcomes(world, name, requests)
    sizes = {"recommendation.quote_size", "recommendation.base_size"}
    report(refused(str(number), outcome, sizes) for number, outcome in enumerate(found))


async def test_an_recommendation_with_a_size_of_the_wrong_side(world: World, untouched: None):
    name = "BridgeService.CreateRecommendation"
    buy = {"side": "SIDE_BUY", "base_size": decimal("1")}
    sell = {"side": "SIDE_SELL", "quote_size": decimal("1")}
    none = {"side": "SIDE_BUY", "quote_size": decimal("0")}
    requests = [
        [bridge.CreateRecommendationRequest(request_id=new_id(), product_id="BTC-USD", **one)]
        for one in (buy, sell, none)
    ]
    found = await outcomes(world, name, requests)
    report(refused(str(number), outcome, {"base_size", "quote_size"}) for number, outcome in enumerate(found))


async def test_real_candles_are_not_mixed_into_the_made_up_market_unasked(world: World, untouched: None):
    frames = GOOD["MarketService.ImportCandles"](world)
    frames[0].open.into_simulated = False
    [found] = await outcomes(world, "MarketService.ImportCandles", [frames])
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "MARKET_SIMULATED")


async def test_bad_candles_are_refused_row_by_row(world: World):
    """Rows that are well-formed and cannot be true are counted by reason; none of them is stored."""
    bad = [
        candle(high=decimal("1")),
        candle(low=decimal("60000")),
        candle(volume=decimal("-1")),
        candle(open=decimal("0")),
        candle(start_time=timestamp(MARKET_START + timedelta(hours=5, minutes=-5))),
        candle(start_time=timestamp(MARKET_START + timedelta(seconds=17))),
        candle(start_time=timestamp(datetime(2099, 1, 1, tzinfo=UTC))),
    ]
    frames = GOOD["MarketService.ImportCandles"](world)
    opening_frame = frames[0]
    opening_frame.open.ClearField("start_time")
    opening_frame.open.ClearField("end_time")
    batch = market.ImportCandlesRequest(candles=market.CandleBatch(candles=bad))
    before = await fingerprint(world.mesh)
    [found] = await outcomes(world, "MarketService.ImportCandles", [[opening_frame, batch]])
    assert (found.code, found.response.received, found.response.refused) == ("OK", len(bad), len(bad)), found.response
    after = await fingerprint(world.mesh)
    assert after["crypto_prices"] == before["crypto_prices"]
