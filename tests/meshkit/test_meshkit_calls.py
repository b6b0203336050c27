"""Calls over real sockets: errors, permissions, deadlines, limits, on all four call kinds."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from refusals import refused
from waiting import eventually

from meshkit import deadline, errors
from meshkit.identity import Caller, current_caller
from meshkit.serve import Registration, ServiceSpec
from tests.meshkit.toys import (
    RELAY_NAME,
    TOY_NAME,
    Behaviour,
    all_four,
    bare,
    kit_channel,
    running,
    servicer,
    toy_running,
)

SECRET = "hunter2-password"


def named(metadata: Any, context: Any) -> Caller | None:
    """Test identities: the name a caller claims."""
    name = metadata.get("x-name")
    return Caller(name) if name else None


async def test_all_call_kinds_and_both_stream_styles_pass_the_interceptors(toy: Any) -> None:
    async with toy_running(toy) as service, kit_channel(service) as channel:
        read, watch, writing, gather, work = await all_four(toy.rpc.ToyServiceStub(channel), toy)
        assert read.key == "a"
        assert [answer.number for answer in watch] == [0, 1, 2]
        assert [answer.number for answer in writing] == [0, 1, 2]
        assert gather.text == "a,b"
        assert [response.answer.key for response in work] == ["a"]


async def test_exception_text_never_reaches_the_caller(toy: Any, caplog: Any) -> None:
    async def fails(request: Any, context: Any) -> Any:
        raise ValueError(SECRET)

    async def fails_streaming(request: Any, context: Any) -> Any:
        raise ValueError(SECRET)
        yield

    behaviour = Behaviour(read=fails, watch=fails_streaming, work=fails_streaming)
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        for error in await all_four(toy.rpc.ToyServiceStub(channel), toy):
            assert isinstance(error, grpc.aio.AioRpcError)
            found = errors.from_rpc_error(error)
            assert error.code() is grpc.StatusCode.INTERNAL
            assert found.reason == "INTERNAL"
            assert found.metadata["error_id"] in (error.details() or "")
            assert SECRET not in str(error.details()) + str(error.trailing_metadata())


async def test_error_details_round_trip(toy: Any) -> None:
    broken = [
        errors.Violation("quote_size", "OUT_OF_RANGE", "0 is outside 1 to 5"),
        errors.Violation("id", "UUID", "x"),
    ]
    thrown: list[errors.MeshError] = [
        errors.InvalidRequest(broken),
        errors.NotFound("order", "o-1"),
        errors.RequestIdReused("r-1"),
        errors.AlreadyInProgress("r-1", retry_after=2.5),
        errors.TooManyInFlight("x", 3),
        errors.Unavailable("STALE_DATA", "old", retry_after=0.25),
        errors.OutcomeUnknown("sent, no answer", {"order": "o-1"}),
        errors.FailedPrecondition("TRADING_HALTED", "halted", {"since": "now"}),
        errors.Misconfigured("no key"),
        errors.Aborted("RESERVATION_LOST", "expired"),
        errors.DeadlineTooShort("late"),
    ]
    now: list[errors.MeshError] = []

    async def raises(request: Any, context: Any) -> Any:
        raise now[-1]

    async with toy_running(toy, Behaviour(read=raises)) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        for error in thrown:
            now.append(error)
            back = await refused(stub.Once(toy.pb.Ask()))
            assert type(back) is type(error)
            assert (back.code, back.reason, back.message) == (error.code, error.reason, error.message)
            assert (back.metadata, back.violations) == (error.metadata, error.violations)
            assert back.retry_after == pytest.approx(error.retry_after) if error.retry_after else not back.retry_after


async def test_a_flood_of_violations_still_fits_the_trailer(toy: Any) -> None:
    async def raises(request: Any, context: Any) -> Any:
        raise errors.InvalidRequest(errors.Violation(f"field[{n}]", "LENGTH", "ü" * 400) for n in range(1000))

    async with toy_running(toy, Behaviour(read=raises)) as service, bare(service.port) as channel:
        back = await refused(toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask()))
        assert isinstance(back, errors.InvalidRequest)
        assert back.violations[-1].rule == "MORE_VIOLATIONS"


async def test_a_handlers_own_abort_passes_unchanged(toy: Any) -> None:
    async def aborts(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "my own words")

    async with toy_running(toy, Behaviour(read=aborts)) as service, bare(service.port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        assert (found.value.code(), found.value.details()) == (grpc.StatusCode.DATA_LOSS, "my own words")


async def test_an_inner_cancellation_gives_a_status_at_once(toy: Any) -> None:
    async def cancelled_inside(request: Any, context: Any) -> Any:
        inner = asyncio.ensure_future(asyncio.sleep(30))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    async with toy_running(toy, Behaviour(read=cancelled_inside)) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        error = await asyncio.wait_for(refused(stub.Read(toy.pb.Ask())), 3)  # no deadline: it would hang for ever
        assert error.reason == "INTERNAL"


async def test_cancelling_a_call_cancels_its_handler(toy: Any) -> None:
    seen: list[str] = []

    async def waits(request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    behaviour = Behaviour(read=waits)
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        call = toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        await eventually(lambda: "Read" in behaviour.calls)
        call.cancel()
        await eventually(lambda: seen == ["cancelled"])


async def test_unknown_method_is_refused_with_a_reason(toy: Any) -> None:
    async with toy_running(toy) as service, bare(service.port) as channel:
        call = channel.unary_unary(f"/{TOY_NAME}/Steal", toy.pb.Ask.SerializeToString, toy.pb.Answer.FromString)
        error = await refused(call(toy.pb.Ask()))
        assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_METHOD")


async def test_permissions_follow_the_method_policy(toy: Any) -> None:
    async with toy_running(toy, identity=named) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        assert (await stub.Once(toy.pb.Ask(key="k"), metadata=[("x-name", "friend")])).key == "k"
        assert (await stub.Read(toy.pb.Ask(key="k"), metadata=[("x-name", "anyone")])).key == "k"
        denied = await refused(stub.Once(toy.pb.Ask(), metadata=[("x-name", "stranger")]))
        assert isinstance(denied, errors.PermissionDenied)
        assert denied.metadata == {"caller": "stranger", "method": f"/{TOY_NAME}/Once"}
        unknown = await refused(stub.Read(toy.pb.Ask()))
        assert (unknown.code, unknown.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")
        for error in await all_four(stub, toy):
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest(service="live"))


async def test_without_authentication_the_caller_is_the_operator(toy: Any) -> None:
    async def who(request: Any, context: Any) -> Any:
        return toy.pb.Answer(text=current_caller().name)

    async with toy_running(toy, Behaviour(read=who)) as service, bare(service.port) as channel:
        assert (await toy.rpc.ToyServiceStub(channel).Once(toy.pb.Ask())).text == "operator"


async def test_server_caps_a_long_or_missing_deadline(toy: Any) -> None:
    seen: list[float | None] = []

    async def slow(request: Any, context: Any) -> Any:
        seen.append(deadline.remaining())
        await asyncio.sleep(30)

    async with toy_running(toy, Behaviour(read=slow)) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        for timeout in (None, 60):
            error = await refused(stub.Capped(toy.pb.Ask(), timeout=timeout))
            assert isinstance(error, errors.DeadlineTooShort)
    assert all(left is not None and left <= 0.3 for left in seen)
    assert len(seen) == 2


async def test_a_deadline_too_short_to_begin_is_refused_before_the_handler(toy: Any) -> None:
    behaviour = Behaviour()
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        await stub.Read(toy.pb.Ask())
        error = await refused(stub.Read(toy.pb.Ask(), timeout=0.015))
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert behaviour.calls == ["Read"]


async def test_deadlines_are_propagated_with_a_margin(toy: Any) -> None:
    """Relay calls Toy within its own call; what Toy sees is less than what Relay had left, by at least the margin."""
    seen: list[float] = []
    had: list[float] = []

    async def tells(request: Any, context: Any) -> Any:
        seen.append(context.time_remaining())
        return toy.pb.Answer()

    async with toy_running(toy, Behaviour(read=tells)) as inner:

        def build(_: Any, kit: Any) -> ServiceSpec:
            stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{inner.port}", TOY_NAME))

            class Relay(toy.rpc.RelayServiceServicer):
                async def Relay(self, request: Any, context: Any) -> Any:
                    left = deadline.remaining() or 0
                    had.append(left)
                    if request.count:
                        await asyncio.sleep(left - 0.03)
                    try:
                        return await stub.Read(toy.pb.Ask(), timeout=60)
                    except grpc.aio.AioRpcError as error:
                        raise errors.from_rpc_error(error) from error

            return ServiceSpec([Registration(toy.rpc.add_RelayServiceServicer_to_server, Relay(), RELAY_NAME)])

        async with running(build, service_name="relay") as outer, bare(outer.port) as channel:
            stub = toy.rpc.RelayServiceStub(channel)
            began = time.monotonic()
            await stub.Relay(toy.pb.Ask(), timeout=2.0)
            # On the wire a deadline is rounded up to the next hundredth of a second.
            assert 2.0 - (time.monotonic() - began) - 0.1 < seen[0] <= had[0] - deadline.MARGIN_SECONDS + 0.0105
            error = await refused(stub.Relay(toy.pb.Ask(count=1), timeout=1.0))
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert len(seen) == 1  # nothing useful was left, so the second call was never sent


async def test_a_full_method_neither_starves_others_nor_health(toy: Any) -> None:
    gate = asyncio.Event()

    async def waits(request: Any, context: Any) -> Any:
        if request.key == "wait":
            await gate.wait()
        return toy.pb.Answer()

    behaviour = Behaviour(read=waits)
    async with toy_running(toy, behaviour) as service, bare(service.port) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        calls = [stub.Once(toy.pb.Ask(key="wait")) for _ in range(2)]
        await eventually(lambda: behaviour.calls == ["Once", "Once"])
        error = await refused(stub.Once(toy.pb.Ask()))
        assert isinstance(error, errors.TooManyInFlight)
        assert error.retry_after
        await stub.Read(toy.pb.Ask())
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="live"))
        gate.set()
        await asyncio.gather(*calls)
        await stub.Once(toy.pb.Ask())


async def test_over_size_messages_are_refused(toy: Any) -> None:
    async def large(request: Any, context: Any) -> Any:
        return toy.pb.Answer(text="x" * 5_000_000)

    behaviour = Behaviour()
    unlimited = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    async with toy_running(toy, behaviour) as service, bare(service.port, *unlimited) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        error = await refused(stub.Read(toy.pb.Ask(bulk=b"x" * 5_000_000)))
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        behaviour.read = large
        error = await refused(stub.Read(toy.pb.Ask()))
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        behaviour.read = None
        await stub.Read(toy.pb.Ask())


async def test_once_is_never_sent_again_by_the_transport_but_a_read_is(toy: Any) -> None:
    """Also shows that the generated service config is valid: an invalid one fails every call."""

    async def down(request: Any, context: Any) -> Any:
        raise errors.Unavailable("DEPENDENCY_UNAVAILABLE", "not now", retry_after=None)

    behaviour = Behaviour(read=down)
    async with toy_running(toy, behaviour) as service, kit_channel(service) as channel:
        stub = toy.rpc.ToyServiceStub(channel)
        assert isinstance(await refused(stub.Once(toy.pb.Ask())), errors.Unavailable)
        assert isinstance(await refused(stub.Read(toy.pb.Ask())), errors.Unavailable)
        assert behaviour.calls.count("Once") == 1
        assert behaviour.calls.count("Read") == 3


async def test_details_are_a_google_status(toy: Any) -> None:
    async def raises(request: Any, context: Any) -> Any:
        raise errors.NotFound("order", "o-1")

    async with toy_running(toy, Behaviour(read=raises)) as service, bare(service.port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask())
        status = rpc_status.from_call(found.value)
        assert [detail.type_url for detail in status.details] == ["type.googleapis.com/google.rpc.ErrorInfo"]


def test_a_servicer_without_policy_or_under_a_wrong_name_is_refused(toy: Any) -> None:
    from meshkit.server import permission_table

    add, impl = toy.rpc.add_ToyServiceServicer_to_server, servicer(toy, Behaviour())
    with pytest.raises(errors.Misconfigured, match="twice"):
        permission_table([Registration(add, impl, TOY_NAME), Registration(add, impl, TOY_NAME)])
    with pytest.raises(errors.Misconfigured, match="adds"):
        permission_table([Registration(add, impl, RELAY_NAME)])
    with pytest.raises(errors.Misconfigured, match="no method policy"):
        permission_table(
            [
                Registration(
                    health_pb2_grpc.add_HealthServicer_to_server,
                    health_pb2_grpc.HealthServicer(),
                    "grpc.health.v1.Health",
                )
            ]
        )
