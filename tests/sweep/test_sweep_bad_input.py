"""Every RPC of every service, asked everything that is wrong: refused by name and reason, nothing stored, still serving."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from hostile import UUIDS, Fault, faults, forged_tokens, siblings
from live_mesh import MARKET_START, SERVING, LiveMesh
from stranger import Outcome, ask, bound, outcome_of, request_class, talk
from sweep_world import GOOD, World, candle, decimal, fingerprint, new_id, recommendation, timestamp

from tradekit.services import SERVICES, ServiceName
from trading.bridge.v1 import bridge_service_pb2 as bridge
from trading.executor.v1 import executor_service_pb2 as executor
from trading.market.v1 import market_service_pb2 as market
from trading.options.v1 import policy_pb2
from trading.risk.v1 import risk_service_pb2 as risk
from trading.validator.v1 import validator_service_pb2 as validator

METHODS = {
    f"{method.containing_service.name}.{method.name}": (service, method)
    for service in SERVICES
    for method in Default().FindServiceByName(service.full_name).methods
}
every_rpc = pytest.mark.parametrize("name", METHODS)
AT_ONCE = 4
# Fields whose content does not count when a stranger sends it, and why.
IGNORED = {
    ("MarketService.ImportCandles", "candles.candles[0].source"): "set by the service",
    ("ValidatorService.StreamValidations", "traceparent"): "a trace that cannot be read is no trace",
    ("RiskService.StreamAssessments", "traceparent"): "a trace that cannot be read is no trace",
}


# What only the books can refuse, after the request's form was found good.
JUDGED_LATER = {(f"{name}", "after_sequence") for name in METHODS if name.partition(".")[2].startswith("Watch")}


def rpcs(**wanted: bool) -> list[str]:
    """The RPCs of one kind, such as server_streaming=True."""
    return [
        name
        for name, (_, method) in METHODS.items()
        if all(getattr(method, key) == want for key, want in wanted.items())
    ]


TALKS = rpcs(client_streaming=True, server_streaming=True)


def limit(method: MethodDescriptor) -> int:
    """Calls at once that the method's policy allows, and no more than a few."""
    return min(AT_ONCE, method.GetOptions().Extensions[policy_pb2.policy].max_in_flight)


@pytest.fixture(autouse=True)
async def unharmed(mesh: LiveMesh, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Whatever a test did: the same processes, what it asked still serving, and no defect in any log."""
    pids, sizes = mesh.pids(), {name: len(mesh.log(name)) for name in mesh.pids()}
    yield
    assert mesh.pids() == pids
    asked = METHODS.get(getattr(request.node, "callspec", None) and request.node.callspec.params.get("name"))
    for service in mesh.plan.services if asked is None else asked[:1]:
        assert await mesh.health(service) == SERVING, service.name
    for name, size in sizes.items():
        news = mesh.log(name)[size:]
        bad = [
            line
            for line in news.splitlines()
            if "Traceback" in line or '"level": "error"' in line or "Exception" in line
        ]
        assert not bad, f"{name}: {bad[0][:3000]}"


@pytest.fixture
async def untouched(world: World) -> AsyncIterator[None]:
    """Nothing may be stored, changed or lost by the test."""
    before = await fingerprint(world.mesh)
    yield
    after = await fingerprint(world.mesh)
    assert after == before, {name: (before.get(name), after[name]) for name in after if after[name] != before.get(name)}


def test_every_rpc_has_a_good_request():
    assert set(GOOD) == set(METHODS)


async def outcomes(world: World, name: str, requests: Sequence[list[Any]], serialize: Any = None) -> list[Outcome]:
    """What each request came to, a few at a time."""
    service, method = METHODS[name]
    turn = asyncio.Semaphore(limit(method))
    async with world.mesh.channel(service) as channel:

        async def one(frames: list[Any]) -> Outcome:
            async with turn:
                return await ask(channel, method, frames, serialize)

        return list(await asyncio.gather(*(one(frames) for frames in requests)))


def complaints(found: Iterable[tuple[str, Outcome]]) -> list[str]:
    return [f"{label}: {'; '.join(outcome.faults())} in {outcome}" for label, outcome in found if outcome.faults()]


def spoiled(name: str, frames: Sequence[Any]) -> list[tuple[Fault, list[Any], set[str]]]:
    """Every fault of form, the frames it is in, and the names that a violation of it may have."""
    return [
        (fault, [*frames[:index], fault.planted(frame), *frames[index + 1 :]], siblings(frame, fault.path))
        for index, frame in enumerate(frames)
        for fault in faults(frame)
        if not fault.well_formed and (name, fault.field) not in IGNORED
    ]


def opening(name: str, world: World) -> list[Any]:
    """The good frames; of a conversation only the first, because its items are answered one by one."""
    frames = GOOD[name](world)
    return frames[:1] if name in TALKS else frames


def refused(label: str, outcome: Outcome, *fields: set[str]) -> str | None:
    """What is wrong with a refusal that must name a violation in each set of fields; None if it is right."""
    if outcome.faults():
        return f"{label}: {'; '.join(outcome.faults())} in {outcome}"
    if outcome.code != "INVALID_ARGUMENT":
        return f"{label}: {outcome}"
    missing = [sorted(names) for names in fields if not names & outcome.fields]
    return f"{label}: {missing} not named by {outcome}" if missing else None


def report(wrong: Iterable[str | None]) -> None:
    found = [text for text in wrong if text]
    assert not found, f"{len(found)} wrong:\n" + "\n".join(found[:40])


def pairs(name: str, cases: Sequence[tuple[Fault, list[Any], set[str]]]) -> list[tuple[Fault, Fault]]:
    """Neighbouring fields, each spoiled in its first way, where both can be spoiled and seen at once."""
    first: dict[str, Fault] = {}
    names: dict[str, set[str]] = {}
    for fault, _, known_as in cases:
        if fault.label != "too many" and (name, fault.field) not in JUDGED_LATER:
            first.setdefault(fault.field, fault)
            names.setdefault(fault.field, known_as)
    # Two members of one choice cannot be sent together.
    return [(one, other) for one, other in pairwise(first.values()) if not names[one.field] & names[other.field]]


@every_rpc
async def test_every_single_fault_is_refused_by_name(world: World, untouched: None, name: str):
    cases = spoiled(name, opening(name, world))
    found = await outcomes(world, name, [frames for _, frames, _ in cases])
    report(refused(fault.name, outcome, names) for (fault, _, names), outcome in zip(cases, found, strict=True))


@every_rpc
async def test_two_faults_are_both_named(world: World, untouched: None, name: str):
    chosen, requests = [], []
    for index, frame in enumerate(frames := opening(name, world)):
        for one, other in pairs(name, spoiled(name, [frame])):
            both = other.planted(one.planted(frame))
            chosen.append((one, other, siblings(frame, one.path), siblings(frame, other.path)))
            requests.append([*frames[:index], both, *frames[index + 1 :]])
    found = await outcomes(world, name, requests)
    report(
        refused(f"{one.name} and {other.name}", outcome, names, others)
        for (one, other, names, others), outcome in zip(chosen, found, strict=True)
    )


@every_rpc
async def test_an_empty_request_has_no_effect(world: World, untouched: None, name: str):
    _, method = METHODS[name]
    [found] = await outcomes(world, name, [[request_class(method)()]])
    assert not found.faults(), found
    reads = method.GetOptions().Extensions[policy_pb2.policy].effect == policy_pb2.EFFECT_READ
    assert found.code == "INVALID_ARGUMENT" or (reads and found.code == "OK"), found


@every_rpc
async def test_bytes_that_are_no_message(world: World, untouched: None, name: str):
    rubbish = [b"\xff" * 16, b"\x0a\x04\xff\xfe\xfd\xfc", b"\x0a\xff\xff\xff\xff\x0f"]
    found = await outcomes(world, name, [[one] for one in rubbish], serialize=bytes)
    report(complaints(zip(map(repr, rubbish), found, strict=True)))
    assert {outcome.code for outcome in (found[0], found[2])} == {"INVALID_ARGUMENT"}


@pytest.mark.parametrize("name", TALKS)
async def test_items_of_a_stream_fail_alone(world: World, untouched: None, name: str):
    service, method = METHODS[name]
    first, frame = GOOD[name](world)
    cases = spoiled(name, [frame.item])
    wrong = []
    async with world.mesh.channel(service) as channel, talk(channel, method, first) as conversation:
        for fault, [item], names in cases:
            outcome = await conversation.item(item, traceparent="\x00 no trace")
            wrong.append(refused(fault.name, outcome, names))
            if item.request_id == frame.item.request_id and outcome.response.request_id != item.request_id:
                wrong.append(f"{fault.name}: the error is not about the item")
        for one, other in pairs(name, cases):
            names, others = siblings(frame.item, one.path), siblings(frame.item, other.path)
            both = other.planted(one.planted(frame.item))
            wrong.append(refused(f"{one.name} and {other.name}", await conversation.item(both), names, others))
        wrong.append(refused("empty item", await conversation.item(type(frame.item)()), {"request_id"}))
        await conversation.half_close()
        assert (await conversation.next()).code == "EOF"
    report(wrong)


@pytest.mark.parametrize("name", TALKS)
async def test_bytes_that_are_no_message_in_an_open_stream(world: World, untouched: None, name: str):
    service, method = METHODS[name]
    async with world.mesh.channel(service) as channel:
        call = bound(channel, method, bytes)()
        await call.write(GOOD[name](world)[0].SerializeToString())
        assert (await call.read()).WhichOneof("frame") == "opened"
        await call.write(b"\xff" * 16)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert refused("bytes", outcome_of(caught.value), {"request"}) is None, outcome_of(caught.value)


@pytest.mark.parametrize("name", TALKS)
async def test_a_stream_opens_once_and_first(world: World, untouched: None, name: str):
    _, method = METHODS[name]
    first, frame = GOOD[name](world)
    frames = request_class(method)
    beat = frames()
    beat.heartbeat.SetInParent()
    found = await outcomes(world, name, [[frame, first], [beat, first], [frames()], []])
    report(refused(str(number), outcome, {"frame"}) for number, outcome in enumerate(found[:3]))
    assert found[3].code == "OK", found[3]


@pytest.mark.parametrize("name", TALKS)
async def test_items_beyond_the_credit_are_sent_back(world: World, name: str):
    """Bad items are as good as good ones: their credit counts too. Whatever was sent is answered, one for one."""
    service, method = METHODS[name]
    first, frame = GOOD[name](world)
    first.open.max_in_flight = 1
    many = 64
    async with world.mesh.channel(service) as channel, talk(channel, method, first) as conversation:
        for _ in range(many):
            item = type(frame.item)(request_id=new_id(), recommendation=recommendation(product_id="btc-usd"))
            await conversation.send(type(frame)(item=item))
        found = [await conversation.next() for _ in range(many)]
        await conversation.half_close()
        assert (await conversation.next()).code == "EOF"
    assert {outcome.reason for outcome in found} <= {"INVALID_REQUEST", "CREDIT_EXCEEDED"}, [str(one) for one in found]
    assert len({outcome.response.request_id for outcome in found}) == many
    report(complaints((outcome.reason, outcome) for outcome in found))


@pytest.mark.parametrize("name", rpcs(client_streaming=True))
async def test_a_stranger_who_leaves_in_the_middle(world: World, untouched: None, name: str):
    service, method = METHODS[name]
    async with world.mesh.channel(service) as channel:
        for _ in range(limit(method) + 2):
            call = bound(channel, method)()
            await call.write(GOOD[name](world)[0])
            call.cancel()
        await asyncio.sleep(0.2)
        [found] = await outcomes(world, name, [[request_class(method)()]])
    assert found.code == "INVALID_ARGUMENT", found


@pytest.mark.parametrize("name", [name for name in METHODS if name.partition(".")[2].startswith("List")])
async def test_page_tokens_that_were_never_given(world: World, untouched: None, name: str):
    _, method = METHODS[name]
    if "page_token" not in method.input_type.fields_by_name:
        pytest.skip("not paged")
    [page] = GOOD[name](world)
    [good] = await outcomes(world, name, [[page]])
    if not good.response.next_page_token:
        pytest.skip("there is only one page")
    forged = dict(forged_tokens(good.response.next_page_token))
    requests = []
    for token in forged.values():
        page.page_token = token
        requests.append([type(page).FromString(page.SerializeToString())])
    found = await outcomes(world, name, requests)
    # A position that nobody gave may still be a position: then it is a page, never a defect.
    report(complaints(zip(forged, found, strict=True)))
    page.page_token = good.response.next_page_token
    [second] = await outcomes(world, name, [[page]])
    assert second.code == "OK" and second.response != good.response


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_methods_that_do_not_exist(world: World, untouched: None, service: ServiceName):
    async with world.mesh.channel(service) as channel:
        for path in (f"/{service.full_name}/Nothing", "/trading.nothing.v1.NothingService/Do", "/"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"", timeout=5)
            found = outcome_of(caught.value)
            assert found.code == "UNIMPLEMENTED", found
            assert not found.faults() and found.reason == "UNKNOWN_METHOD", found


@every_rpc
async def test_messages_over_four_mebibytes(world: World, untouched: None, name: str):
    """The transport refuses them before anybody reads them; so there is no reason, but a code that says why."""
    service, method = METHODS[name]
    async with world.mesh.channel(service) as channel:
        found = await ask(channel, method, [b"\x7a" + b"\x00" * (4 * 1024 * 1024 + 1)], serialize=bytes, patience=20)
    assert found.code == "RESOURCE_EXHAUSTED", found


# What a product that is well-formed and unknown comes to; everywhere else it is refused by name.
UNKNOWN_PRODUCT_IS = {
    "SignalService.ListSignals": "OK",
    "BridgeService.ListRecommendations": "OK",
    "ExecutorService.ListOrders": "OK",
    "ValidatorService.ValidateRecommendation": "OK",
    "RiskService.AssessRecommendation": "ALREADY_EXISTS",
    "ExecutorService.ExecuteRecommendation": "FAILED_PRECONDITION",
}


@pytest.mark.parametrize("name", [name for name in METHODS if name != "MarketService.ImportCandles"])
async def test_an_unknown_product(world: World, name: str):
    """Lists of it are empty, a review rejects it with reasons, changed terms of a stored idea and anything else are refused.

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
    "MarketService.BackfillCandles",
    "MarketService.ImportCandles",
    "MonitorService.AcknowledgeAlert",
    "RiskService.AssessRecommendation",
    "RiskService.SetTradingState",
    "RiskService.StreamAssessments",
    "ValidatorService.StreamValidations",
    "ValidatorService.ValidateRecommendation",
)
# Effects that are known by something else than a body: a bar, the order row, or nothing but the id itself.
KNOWN_OTHERWISE = {
    "SignalService.GenerateSignals",
    "ExecutorService.ExecuteRecommendation",
    "ExecutorService.Reconcile",
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
    assert (other.code, other.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED"), other
    assert not other.faults()
    after = await fingerprint(world.mesh)
    if name == "BridgeService.CreateRecommendation":  # the idea is on its way and moves rows: only its number counts
        before, after = ({"ideas": one["trade_recommendations"].split()[0]} for one in (before, after))
    assert after == before


async def test_an_order_is_known_by_its_recommendation(world: World):
    """A stranger who repeats an executed recommendation gets its order; with another size nothing at all."""
    name = "ExecutorService.ExecuteRecommendation"
    idea = world.record.recommendation
    request = executor.ExecuteRecommendationRequest(
        request_id=new_id(), recommendation=idea, size=world.record.adjusted_size, ticket="no.ticket.atall"
    )
    before = await fingerprint(world.mesh)
    [same] = await outcomes(world, name, [[request]])
    assert same.code == "OK" and same.response.order.order_id == world.record.order_id, same
    request.size.value = "1"
    [other] = await outcomes(world, name, [[request]])
    assert (other.code, other.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED"), other
    assert await fingerprint(world.mesh) == before


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in METHODS
        if name.partition(".")[2]
        in ("GetSignal", "GetRecommendation", "GetOrder", "ExplainRecommendation", "AcknowledgeAlert")
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
    """A review ends as an outcome with the reason, an assessment is refused, and no order comes of it."""
    review = validator.ValidateRecommendationRequest(request_id=new_id(), recommendation=recommendation(**LATE))
    [found] = await outcomes(world, "ValidatorService.ValidateRecommendation", [[review]])
    verdict = found.response.validation
    assert verdict.verdict == validator.VERDICT_REJECT
    assert [one.outcome for one in verdict.reviews] == [validator.REVIEW_OUTCOME_EXPIRED]
    request = risk.AssessRecommendationRequest(request_id=new_id(), recommendation=recommendation(**LATE))
    [found] = await outcomes(world, "RiskService.AssessRecommendation", [[request]])
    # Nobody stored it, so it is not even assessed.
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


async def test_an_idea_with_a_size_of_the_wrong_side(world: World, untouched: None):
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
