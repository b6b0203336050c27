"""Stopping under load and in a hurry, again and again: two stops of one server at once used to crash the core."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from waiting import eventually

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
