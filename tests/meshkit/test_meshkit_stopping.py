"""Stopping under load and in a hurry, again and again: two stops of one server at once used to crash the core."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from waiting import eventually

from meshkit.lifecycle import longest_drain_seconds
from meshkit.spec import Task
from tests.meshkit.toys import Behaviour, bare, toy_running


@pytest.mark.parametrize("second_after_seconds", [0.0, 0.001, 0.02])
async def test_stops_in_a_hurry_end_well_with_calls_running(toy: Any, second_after_seconds: float) -> None:
    async def hangs(request: Any, context: Any) -> Any:
        await asyncio.sleep(60)

    for _ in range(8):
        behaviour = Behaviour(read=hangs)
        async with (
            toy_running(toy, behaviour, drain_seconds=second_after_seconds) as service,
            bare(service.port) as channel,
        ):
            stub = toy.rpc.ToyServiceStub(channel)
            calls = [stub.Read(toy.pb.Ask()) for _ in range(5)]
            await eventually(lambda b=behaviour: len(b.calls) == 5)
            service.stop()
            await asyncio.sleep(second_after_seconds)
            service.stop()
            await eventually(lambda s=service: s.stopped)
            assert service.exit_code == 0
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(error, BaseException) for error in ended)


async def test_the_longest_drain_is_as_long_as_is_said(toy: Any) -> None:
    """Whatever may hang hangs; who gives a process its time to end (GRACE_SECONDS of tools/istio_base.py) counts on the sum."""
    never, begun, part = asyncio.Event(), asyncio.Event(), 1.5

    async def hangs() -> None:
        await never.wait()

    async def keeps_its_first_cancellation() -> None:
        try:
            await never.wait()
        except asyncio.CancelledError:
            await never.wait()

    async def handler(request: Any, context: Any) -> Any:
        begun.set()
        await service.kit.critical(never.wait())

    spec = {"background": [Task("own", keeps_its_first_cancellation)], "on_drain": hangs, "on_stop": hangs}
    changes = {"drain_notice_seconds": 1.0, "drain_seconds": part}
    async with (
        toy_running(toy, Behaviour(read=handler), spec=spec, **changes) as service,
        bare(service.port) as channel,
    ):
        call = asyncio.ensure_future(toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask()))
        await asyncio.wait_for(begun.wait(), 30)
        began = time.monotonic()
        service.stop()
        await eventually(lambda: service.stopped)
        took = time.monotonic() - began
        await asyncio.gather(call, return_exceptions=True)
    # A task that lives on ends by its second cancellation here, so that its own part is not used up.
    longest = longest_drain_seconds(service.kit.settings)
    assert longest - 1.5 * part < took <= longest
