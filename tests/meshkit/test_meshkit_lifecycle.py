"""Health, start, drain and stop: in this process, and as a real process with real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from waiting import eventually

from meshkit import channel, errors, health, server
from meshkit.errors import Unavailable
from meshkit.serve import Check, Task
from tests.meshkit.toys import ROOT, TOY_NAME, Behaviour, bare, kit_channel, toy_running
from tests.support.arriving import Arriving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Switch:
    """A check whose outcome the test decides."""

    def __init__(self, failing: bool) -> None:
        self.failing = failing
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        if self.failing:
            raise RuntimeError("not proven")


async def status(port: int, name: str) -> int:
    async with bare(port) as opened:
        answer = await health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(service=name))
        return int(answer.status)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.03)


async def test_health_is_not_serving_until_the_checks_have_passed(toy: Any, quick: None) -> None:
    check = Switch(failing=True)
    async with toy_running(toy, spec={"ready": [Check("store", check.run)]}) as service:
        await eventually(lambda: check.runs >= 3)
        assert [await status(service.port, name) for name in ("", TOY_NAME, "live")] == [
            NOT_SERVING,
            NOT_SERVING,
            SERVING,
        ]
        check.failing = False
        async with bare(service.port) as opened:
            watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(service=TOY_NAME))
            seen = [(await watch.read()).status]
            while seen[-1] != SERVING:
                seen.append((await watch.read()).status)
            watch.cancel()
        assert await status(service.port, "") == SERVING


async def test_a_failing_dependency_takes_out_entries_only(toy: Any, quick: None) -> None:
    own, other, third = Switch(failing=False), Switch(failing=True), Switch(failing=True)
    checks = {"entries": [Check("peer", other.run)], "others": {"feeds": [Check("feed", third.run)]}}
    async with toy_running(toy, spec={"ready": [Check("store", own.run)], **checks}) as service:
        await eventually(lambda: other.runs >= 3)
        assert await status(service.port, TOY_NAME) == SERVING
        assert await status(service.port, f"{TOY_NAME}/entries") == NOT_SERVING
        assert await status(service.port, f"{TOY_NAME}/feeds") == NOT_SERVING
        other.failing, own.failing, third.failing = False, True, False
        runs = own.runs
        await eventually(lambda: own.runs >= runs + 4)
        assert await status(service.port, f"{TOY_NAME}/entries") == NOT_SERVING, "entries need the service itself"
        assert await status(service.port, f"{TOY_NAME}/feeds") == SERVING, "and what else there is does not"


async def test_two_failures_flip_and_one_success_returns() -> None:
    check = Switch(failing=False)
    servicer = health.HealthServicer(["x"])
    group = health.Group(["x"], [Check("c", check.run)])

    class Log:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: None

    poller = health.HealthPoller(servicer, [group], Log())
    history = []
    for failing in (True, True, False, True, False, True, True, False):
        check.failing = failing
        await poller.poll()
        history.append(group.serving)
    assert history == [False, False, True, True, True, True, False, True]


async def test_a_fault_that_counts_seconds_is_said_once() -> None:
    words = iter(["silent for 1 s", "silent for 3 s", "silent for 15 s", "no route", "no route"])

    async def fails() -> None:
        raise Unavailable("STALE_DATA", next(words))

    said: list[str] = []

    class Log:
        def info(self, event: str, **told: Any) -> None:
            pass

        def log(self, level: int, event: str, *, failing: dict[str, str], **told: Any) -> None:
            said.append(failing["c"].rpartition(": ")[2])

    poller = health.HealthPoller(health.HealthServicer(["x"]), [health.Group(["x"], [Check("c", fails)])], Log())
    for _ in range(5):
        await poller.poll()
    assert said == ["silent for 1 s", "no route"]


async def test_a_check_that_hangs_fails_within_its_timeout(toy: Any, quick: None) -> None:
    async def hangs() -> None:
        await asyncio.sleep(60)

    other = Switch(failing=False)
    async with toy_running(toy, spec={"ready": [Check("hangs", hangs)], "entries": [Check("o", other.run)]}) as service:
        await eventually(lambda: other.runs >= 3)
        assert await status(service.port, "") == NOT_SERVING


async def test_an_unknown_name_is_not_found_for_check_and_unknown_for_watch(toy: Any) -> None:
    async with toy_running(toy) as service, bare(service.port) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert found.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


async def test_an_open_watch_hears_of_the_drain_and_does_not_hold_it(toy: Any) -> None:
    async with toy_running(toy, drain_seconds=60.0) as service, bare(service.port) as opened:
        watch = Arriving(health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(service="")))
        while (await watch.read()).status != SERVING:
            pass
        service.stop()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        await eventually(lambda: service.stopped)


async def test_a_second_server_on_the_same_port_is_refused(toy: Any) -> None:
    async with toy_running(toy) as service:
        with pytest.raises(errors.Misconfigured, match="cannot bind"):
            async with toy_running(toy, port=service.port):
                pass


def test_keepalive_pair_cannot_be_mistaken_for_abuse() -> None:
    client, own = dict(channel.OPTIONS), dict(server.OPTIONS)
    assert client["grpc.keepalive_time_ms"] > own["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_permit_without_calls"] == own["grpc.keepalive_permit_without_calls"] == 1
    assert own["grpc.so_reuseport"] == 0


async def test_a_quiet_stream_survives_pings_in_the_kits_ratio(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair scaled down: with the server's default interval the third ping would end the stream."""

    def scaled(options: tuple[tuple[str, int], ...], key: str) -> tuple[tuple[str, int], ...]:
        return tuple((name, value // 100 if name == key else value) for name, value in options)

    monkeypatch.setattr(server, "OPTIONS", scaled(server.OPTIONS, "grpc.http2.min_ping_interval_without_data_ms"))
    monkeypatch.setattr(channel, "OPTIONS", scaled(channel.OPTIONS, "grpc.keepalive_time_ms"))
    release = asyncio.Event()

    async def quiet(request: Any, context: Any) -> Any:
        await release.wait()
        yield toy.pb.Answer(key="still here")

    async with toy_running(toy, Behaviour(watch=quiet)) as service, kit_channel(service) as opened:
        call = toy.rpc.ToyServiceStub(opened).Watch(toy.pb.Ask())
        asyncio.get_running_loop().call_later(1.8, release.set)
        assert (await asyncio.wait_for(call.read(), 10)).key == "still here"


async def test_a_background_task_that_fails_ends_the_service_with_code_1(toy: Any) -> None:
    async def fails() -> None:
        raise RuntimeError("broken")

    async def ends() -> None:
        return

    for body in (fails, ends):
        async with toy_running(toy, spec={"background": [Task("own", body)]}) as service:
            await eventually(lambda s=service: s.stopped)
            assert service.exit_code == 1


async def test_drain_order_and_critical_tasks(toy: Any) -> None:
    story: list[str] = []
    release = asyncio.Event()

    async def on_drain() -> None:
        story.append("on_drain")

    async def on_stop() -> None:
        story.append("on_stop")

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            story.append("background cancelled")

    async def effect() -> None:
        await release.wait()
        story.append("effect recorded")

    async def handler(request: Any, context: Any) -> Any:
        await service.kit.critical(effect())
        return toy.pb.Answer()

    spec = {"background": [Task("b", background)], "on_drain": on_drain, "on_stop": on_stop}
    behaviour = Behaviour(read=handler)
    async with toy_running(toy, behaviour, spec=spec, drain_seconds=1.0) as service, bare(service.port) as opened:
        call = toy.rpc.ToyServiceStub(opened).Read(toy.pb.Ask())
        await eventually(lambda: behaviour.calls == ["Read"])
        call.cancel()  # the caller leaves; the effect must be recorded all the same
        service.stop()
        await eventually(lambda: "background cancelled" in story)
        release.set()
        await eventually(lambda: service.stopped)
    assert story == ["on_drain", "background cancelled", "effect recorded", "on_stop"]


async def test_a_running_call_ends_well_in_the_grace_and_new_streams_are_refused(toy: Any) -> None:
    release = asyncio.Event()

    async def slow(request: Any, context: Any) -> Any:
        await release.wait()
        return toy.pb.Answer(key="done")

    behaviour = Behaviour(read=slow)
    changes = {"drain_notice_seconds": 30.0, "drain_seconds": 5.0}
    async with toy_running(toy, behaviour, **changes) as service, bare(service.port) as opened:
        stub = toy.rpc.ToyServiceStub(opened)
        call = stub.Read(toy.pb.Ask())
        await eventually(lambda: behaviour.calls == ["Read"])
        service.stop()
        await eventually(lambda: service.kit.draining.is_set())
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await stub.Watch(toy.pb.Ask(count=1)).read()
        refused = errors.from_rpc_error(found.value)
        assert (refused.reason, refused.retry_after) == ("DRAINING", 1.0)
        release.set()
        assert (await call).key == "done"


PROGRAM = """
    import asyncio, sys
    sys.path.insert(0, {folder!r})
    from toykit.v1 import toy_pb2 as pb, toy_pb2_grpc as rpc
    from meshkit.serve import Registration, ServiceSpec, serve
    from meshkit.settings import KitSettings

    class Settings(KitSettings):
        service_name: str = "toy"
        port: int = 0

    class Toy(rpc.ToyServiceServicer):
        async def Read(self, request, context):
            await asyncio.sleep(float(request.text))
            return pb.Answer(key="done")

    def build(settings, kit):
        return ServiceSpec([Registration(rpc.add_ToyServiceServicer_to_server, Toy(), "toykit.v1.ToyService")])

    serve(Settings, build)
"""


class Process:
    """The toy service as a real process."""

    def __init__(self, toy: Any, **env: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._program = textwrap.dedent(PROGRAM).format(folder=str(toy.folder))
        path = os.pathsep.join([str(ROOT), str(ROOT / "gen" / "python")])
        # Compiling every library again at each start would take longer than the test.
        cache = {"PYTHONDONTWRITEBYTECODE": ""}
        self._env = {**os.environ, "PYTHONPATH": path, "PORT": str(self.port), **cache, **env}

    async def __aenter__(self) -> Process:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", self._program, env=self._env, stderr=pipe, stdout=pipe
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def ready(self, opened: grpc.aio.Channel) -> None:
        request = health_pb2.HealthCheckRequest(service="")
        watch = health_pb2_grpc.HealthStub(opened).Watch(request, wait_for_ready=True, timeout=20)
        async for answer in watch:
            if answer.status == SERVING:
                break
        watch.cancel()

    async def ended(self) -> tuple[int, str]:
        _, err = await asyncio.wait_for(self.process.communicate(), 20)
        return int(self.process.returncode or 0), err.decode()


async def test_sigterm_drains_a_real_process(toy: Any) -> None:
    async with Process(toy) as toy_process, bare(toy_process.port) as opened:
        await toy_process.ready(opened)
        call = toy.rpc.ToyServiceStub(opened).Read(toy.pb.Ask(text="0.7"))
        await asyncio.sleep(0.3)
        toy_process.process.send_signal(signal.SIGTERM)
        assert (await call).key == "done"
        code, log = await toy_process.ended()
    assert code == 0, log
    assert '"event": "stopped"' in log


async def test_a_second_sigterm_ends_at_once(toy: Any) -> None:
    async with Process(toy, DRAIN_SECONDS="60") as toy_process, bare(toy_process.port) as opened:
        await toy_process.ready(opened)
        call = toy.rpc.ToyServiceStub(opened).Read(toy.pb.Ask(text="4.5"))
        await asyncio.sleep(0.3)
        toy_process.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        toy_process.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call
        assert found.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        code, log = await toy_process.ended()
    assert code == 0, log
    assert "stopping_at_once" in log


async def test_all_configuration_faults_are_told_at_once_and_exit_is_2(toy: Any) -> None:
    env = {"DB_PORT": "many", "MESH_BIND": "0.0.0.0", "DB_PASSWORD": "hunter2", "DRAIN_SECONDS": "-1"}
    async with Process(toy, **env) as toy_process:
        code, log = await toy_process.ended()
    assert code == 2
    for variable in ("DB_PORT = many", "MESH_AUTH = off", "DRAIN_SECONDS = -1"):
        assert variable in log
    assert "hunter2" not in log


def test_kit_knows_no_trading_word() -> None:
    for path in (ROOT / "meshkit").rglob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")) and "trading" in line:
                assert line == "from trading.options.v1 import policy_pb2", Path(path).name
