"""The whole mesh as real processes for tests: every service, the simulated exchange, one embedded PostgreSQL of its own.

The database belongs to the test, not to the supervisor, so that a test can stop it and start it again. Everything is
started before the database answers: what each service says of itself until then is recorded.
"""

import asyncio
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.calls import operator_channel
from cli.plan import MeshPlan, Ports, SimulatorPlan
from cli.stack import (
    make_identities,
    migration_step,
    service_unit,
    simulator_unit,
    template_of,
    write_simulator_keys,
)
from exchange_sim.tls import ensure_tls
from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.home import MeshHome
from supervisor.instance import hold_instance
from supervisor.keys import ensure_keys
from supervisor.ports import free_ports
from supervisor.processes import InstanceMark
from supervisor.readiness import always_ready
from supervisor.restart_policy import RestartPolicy
from supervisor.supervisor import Supervisor
from supervisor.unit import ProcessUnit
from tradekit.services import SERVICES, ServiceName
from tradekit.states import Profile, Venue

PRODUCTS = ("BTC-USD", "ETH-USD")
# Market time runs as the wall clock does, and no bar closes while the tests last: what changes, a test changed.
MARKET_START = datetime(2025, 3, 1, 0, 5, tzinfo=UTC)
HISTORY_BARS = 700
# The last message to a watcher must reach it before its stream is cut, on a busy machine too.
DRAIN_SECONDS = 8.0
START_SECONDS = 240.0
LIVE = "live"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health_names(service: ServiceName) -> tuple[str, ...]:
    """What a service must tell about itself."""
    return ("", LIVE, service.full_name, f"{service.full_name}/entries")


@dataclass
class LiveMesh:
    """A running instance. `before_proven` holds what each health name said while there was no database, and no schema in it."""

    plan: MeshPlan
    postgres: EmbeddedPostgres
    supervisor: Supervisor
    before_proven: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    def pids(self) -> dict[str, int]:
        """Living processes by name."""
        return {one.name: one.process.pid for one in self.supervisor.state.services if one.process is not None}

    def log(self, name: str) -> str:
        """Everything a process has written."""
        path = self.plan.home.log_file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    @asynccontextmanager
    async def channel(self, service: ServiceName, **options: int) -> AsyncIterator[grpc.aio.Channel]:
        """An operator's channel as the commands have it: no service config, no deadline, nothing else of the kit."""
        chosen = ((f"grpc.{name}", value) for name, value in options.items())
        async with operator_channel(self.plan.home, self.plan.ports.address(service), *chosen) as channel:
            yield channel

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """A driver connection to the ledger."""
        connection = await asyncpg.connect(**self.plan.database_address.arguments("mesh"), timeout=30)
        try:
            yield connection
        finally:
            await connection.close(timeout=20)

    async def health(self, service: ServiceName, name: str = "") -> int | None:
        """The status under a name; None while nobody answers."""
        async with self.channel(service) as channel:
            return await check(channel, name)

    async def until_health(self, name_of: Any, status: int, seconds: float) -> None:
        """Waits until every service has the status under `name_of(service)`; TimeoutError names those that have not."""
        left = set(self.plan.services)
        deadline = time.monotonic() + seconds
        while left:
            for service in sorted(left, key=lambda one: one.port):
                if await self.health(service, name_of(service)) == status:
                    left.discard(service)
            if left and time.monotonic() > deadline:
                raise TimeoutError(f"not in health status {status}: {sorted(one.name for one in left)}")
            await asyncio.sleep(0.1)


async def check(channel: grpc.aio.Channel, name: str) -> int | None:
    """One question to the standard health service."""
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=name), timeout=20
        )
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return None
        raise
    return int(answer.status)


def plan_of(
    postgres: EmbeddedPostgres, home: MeshHome, products: tuple[str, ...], settings: Mapping[str, str]
) -> MeshPlan:
    """Every service on free ports, on the simulated market, with nothing of the developer's own environment."""
    numbers = free_ports(len(SERVICES) + 2)
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return MeshPlan(
        home=home,
        venue=Venue.SIMULATED,
        profile=Profile.EXERCISE,
        products=products,
        granularity="ONE_HOUR",
        run_id="sweep",
        ports=Ports({one.name: numbers[i] for i, one in enumerate(SERVICES)}, numbers[-2], numbers[-1]),
        keys=ensure_keys(home.keys),
        database=postgres.address.environment(),
        control_token=secrets.token_urlsafe(24),
        simulator=SimulatorPlan("simulated", 1.0, 7, MARKET_START, history_days=HISTORY_BARS // 24 + 2),
        inherited={name: os.environ[name] for name in kept if name in os.environ},
        extra={
            "MARKET_HISTORY_BARS": str(HISTORY_BARS),
            # Looked at once: what changes while the tests last, a test changed.
            "MARKET_PRODUCTS_SECONDS": "86400",
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "OPENBLAS_NUM_THREADS": "1",
            **settings,
        },
    )


@contextmanager
def live_mesh(
    root: Path, products: tuple[str, ...] = PRODUCTS, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[LiveMesh]:
    """The mesh, ready, with history stored; stopped and gone afterwards. `settings` are environment variables."""
    home = MeshHome.at(root)
    postgres = EmbeddedPostgres(home.postgres, home.log_file("postgres"), "trading")
    with hold_instance(home) as run_id:
        plan = plan_of(postgres, home, products, settings)
        mark = InstanceMark(str(home.root), run_id)
        make_identities(plan)
        write_simulator_keys(plan)
        # All begin at once here, and one that reads the certificate must not come before who makes it.
        ensure_tls(plan.simulator_ca.parent)
        template = template_of(plan, mark)
        made = [simulator_unit(plan, mark), *(service_unit(plan, one, mark, ()) for one in plan.services)]
        # Readiness and life are what the tests look at; and gRPC for asyncio shall live in one thread of this process.
        units = [
            ProcessUnit(
                replace(unit.spec, ready=always_ready, alive=None), home.log_file(unit.spec.name), mark, template
            )
            for unit in made
        ]
        # A process that dies must be seen to be dead: it is not started again while a test looks.
        supervisor = Supervisor(
            home,
            run_id,
            units,
            labels={"mode": "sweep"},
            on_event=lambda event: None,
            policy=RestartPolicy(first_pause_seconds=600.0, longest_pause_seconds=600.0),
        )
        mesh = LiveMesh(plan, postgres, supervisor)
        try:
            with template, supervised(supervisor):
                asyncio.run(_prove(mesh))
                yield mesh
        finally:
            postgres.stop()


async def _migrate(plan: MeshPlan) -> None:
    step = migration_step(plan, ())
    await step.launch()
    ended = await step.wait()
    assert ended.ok, ended.text


@contextmanager
def supervised(supervisor: Supervisor) -> Iterator[None]:
    """The supervisor in a thread of its own, which lives as long as its children do."""
    began = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failed: list[BaseException] = []

    async def run() -> None:
        event = asyncio.Event()
        stop.append((asyncio.get_running_loop(), event))
        began.set()
        await supervisor.run(event, _nothing)

    def body() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
            began.set()

    thread = threading.Thread(target=body, name="supervisor", daemon=True)
    thread.start()
    began.wait(10)
    try:
        yield
    finally:
        loop, event = stop[0]
        if thread.is_alive():
            loop.call_soon_threadsafe(event.set)
        thread.join(60)
        assert not thread.is_alive(), "the supervisor did not stop"
        if failed:
            raise failed[0]


async def _nothing() -> None:
    return None


async def _prove(mesh: LiveMesh) -> None:
    """Records what everyone says without a database, and with one that nobody has migrated yet; then waits until all have
    proven themselves."""
    wanted = [(service, name) for service in mesh.plan.services for name in health_names(service)]
    async with asyncio.timeout(START_SECONDS):
        for service, name in wanted:
            while (status := await mesh.health(service, name)) is None:
                await asyncio.sleep(0.1)
            mesh.before_proven.setdefault((service.name, name), set()).add(status)
    await _look_on(mesh, wanted)
    await asyncio.to_thread(mesh.postgres.start)
    await _look_on(mesh, wanted)
    await _migrate(mesh.plan)
    await mesh.until_health(lambda service: "", SERVING, START_SECONDS)
    await _history(mesh)


async def _look_on(mesh: LiveMesh, wanted: Sequence[tuple[ServiceName, str]]) -> None:
    """Records it for a while: a health poll or two must come and go."""
    for _ in range(3):
        await asyncio.sleep(0.7)
        for service, name in wanted:
            status = await mesh.health(service, name)
            mesh.before_proven[service.name, name].add(-1 if status is None else status)


async def _history(mesh: LiveMesh) -> None:
    """Waits until candles, watermarks and the opening balance are there: from then on nothing moves by itself."""
    query = """SELECT (SELECT count(*) = 3 AND count(DISTINCT as_of) = 1 FROM watermarks
                       WHERE stage IN ('market', 'signal', 'bridge'))
               AND EXISTS (SELECT 1 FROM ledger_entries)"""
    async with asyncio.timeout(START_SECONDS), mesh.database() as connection:
        while not await connection.fetchval(query):
            await asyncio.sleep(0.2)
