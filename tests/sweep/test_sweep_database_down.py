"""The database goes away and comes back: every service says so, answers in time, and goes on without a restart."""

import asyncio
import time

import grpc
from generic_client import Outcome, ask, bound
from live_mesh import NOT_SERVING, SERVING, LiveMesh
from sweep_calls import METHODS
from sweep_world import GOOD, World

from trading.options.v1 import policy_pb2

UNARY = [name for name, (_, method) in METHODS.items() if not method.client_streaming and not method.server_streaming]
WATCHES = [name for name in METHODS if name.partition(".")[2].startswith("Watch")]
# What needs no database to be true; and what is refused for another reason before it is needed.
WITHOUT_DATABASE = {
    "SignalService.GetModel": "OK",
    "ValidatorService.GetReviewer": "OK",
    "RiskService.GetLimits": "OK",
    "MonitorService.GetStatus": "OK",
    # The switch that every send looks at stands in the executor itself.
    "ExecutorService.GetTradingState": "OK",
    # A forged ticket is refused as one, whatever else is out of order.
    "ExecutorService.ExecuteRecommendation": "FAILED_PRECONDITION",
}
OUTAGE_SECONDS, RECOVERY_SECONDS = 240.0, 240.0


class Watcher:
    """One open watch: counts what it hears, and opens it again when it ends, as a client does."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self.name = world, name
        self.frames, self.ends = 0, []

    async def run(self) -> None:
        service, method = METHODS[self.name]
        [request] = GOOD[self.name](self._world)
        while True:
            try:
                async with self._world.mesh.channel(service) as channel:
                    async for _ in bound(channel, method)(request):
                        self.frames += 1
                self.ends.append("OK")
            except grpc.aio.AioRpcError as error:
                self.ends.append(error.code().name)
            await asyncio.sleep(0.3)


async def answer(world: World, name: str) -> tuple[Outcome, float]:
    """What a unary call comes to, and after how many seconds."""
    service, method = METHODS[name]
    began = time.monotonic()
    async with world.mesh.channel(service) as channel:
        found = await ask(channel, method, GOOD[name](world))
    return found, time.monotonic() - began


async def heard(watchers: list[Watcher], seconds: float) -> None:
    """Waits until every watcher has heard something since now."""
    before = [watcher.frames for watcher in watchers]
    end = time.monotonic() + seconds
    while True:
        silent = [one for one, count in zip(watchers, before, strict=True) if one.frames == count]
        if not silent:
            return
        assert time.monotonic() < end, [(one.name, one.ends[-3:]) for one in silent]
        await asyncio.sleep(0.1)


async def test_an_outage_of_the_database(world: World):
    mesh = world.mesh
    pids = mesh.pids()
    watchers = [Watcher(world, name) for name in WATCHES]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watcher.run()) for watcher in watchers]
        await heard(watchers, 60)
        await asyncio.to_thread(mesh.postgres.stop)
        try:
            await _everyone_says_so(mesh)
            found = await asyncio.gather(*(answer(world, name) for name in UNARY))
            assert mesh.pids() == pids
        finally:
            await asyncio.to_thread(mesh.postgres.start)
        await mesh.until_health(lambda service: "", SERVING, RECOVERY_SECONDS)
        await mesh.until_health(lambda service: service.full_name, SERVING, RECOVERY_SECONDS)
        await heard(watchers, RECOVERY_SECONDS)
        for task in tasks:
            task.cancel()
    _judge(found)
    assert mesh.pids() == pids
    ends = {watcher.name: watcher.ends for watcher in watchers}
    assert all(set(one) <= {"UNAVAILABLE"} for one in ends.values()), ends
    for name in mesh.pids():
        assert "Traceback" not in mesh.log(name), name
    assert [one for one in [await answer(world, name) for name in UNARY] if one[0].code == "UNAVAILABLE"] == []


async def _everyone_says_so(mesh: LiveMesh) -> None:
    async with asyncio.timeout(OUTAGE_SECONDS):
        for service in mesh.plan.services:
            # The monitor stays up to tell that the others do not.
            while service.name != "monitor" and await mesh.health(service) != NOT_SERVING:
                await asyncio.sleep(0.1)
            assert await mesh.health(service, "live") == SERVING


def _judge(found: list[tuple[Outcome, float]]) -> None:
    wrong = []
    for name, (outcome, seconds) in zip(UNARY, found, strict=True):
        limit = METHODS[name][1].GetOptions().Extensions[policy_pb2.policy].deadline.seconds
        expected = WITHOUT_DATABASE.get(name, "UNAVAILABLE")
        right = outcome.code == expected and (expected != "UNAVAILABLE" or outcome.reason == "DATABASE_UNAVAILABLE")
        if not right or outcome.faults() or seconds > limit:
            wrong.append(f"{name} after {seconds:.1f} s: {outcome} {outcome.faults()}")
    assert not wrong, "\n".join(wrong)
