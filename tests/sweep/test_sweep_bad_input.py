"""Every RPC of every service, asked everything of a wrong form: refused by name and reason, nothing stored, still serving."""

import asyncio

import grpc
import pytest
from generic_client import ask, bound, outcome_of, request_class, talk
from hostile import forged_tokens, siblings
from sweep_calls import (
    METHODS,
    TALKS,
    complaints,
    every_rpc,
    limit,
    opening,
    outcomes,
    pairs,
    refused,
    report,
    rpcs,
    spoiled,
)
from sweep_world import GOOD, World, new_id, recommendation

from tradekit.services import SERVICES, ServiceName
from trading.options.v1 import policy_pb2

pytestmark = pytest.mark.usefixtures("unharmed")


def test_every_rpc_has_a_good_request():
    assert set(GOOD) == set(METHODS)


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
        found = await ask(
            channel, method, [b"\x7a" + b"\x00" * (4 * 1024 * 1024 + 1)], serialize=bytes, timeout_seconds=20
        )
    assert found.code == "RESOURCE_EXHAUSTED", found


# What a product that is well-formed and unknown comes to; everywhere else it is refused by name.
