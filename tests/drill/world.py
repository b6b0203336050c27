"""The world of a drill: a whole mesh as supervised processes, its database and exchange, and the proxy between them.

It is kept for many runs. What scales with the life of an exchange's token is set short, so that a doubt that takes two
minutes of real trading takes seconds; the rules between those settings are the product's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
from live_mesh import MARKET_START, SERVING, LiveMesh, plan_of, supervised

from cli.instance_file import Instance, write_instance
from cli.plan import SIMULATOR, MeshPlan, SimulatorPlan
from cli.stack import (
    MIGRATIONS,
    make_identities,
    migration_step,
    service_unit,
    simulator_unit,
    template_of,
    write_simulator_keys,
)
from exchange_sim.tls import ensure_tls
from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.forking import ForkLauncher
from supervisor.home import MeshHome
from supervisor.instance import hold_instance
from supervisor.ports import free_ports
from supervisor.postgres_unit import PostgresUnit
from supervisor.postmaster import find_postmaster
from supervisor.processes import InstanceMark
from supervisor.readiness import always_ready
from supervisor.restart_policy import RestartPolicy
from supervisor.supervisor import Supervisor
from supervisor.unit import ProcessUnit, Unit
from tests.drill.hand import HandTrader, new_key
from tests.drill.operator import Operator
from tests.drill.plan import DATABASE, PRODUCTS
from tests.drill.proxy import FaultProxy, Timeouts
from tests.drill.reading import LedgerRows
from tradekit import services
from tradekit.services import SERVICES, ServiceName

OPENING_USD = "1000000"
# The longest request and the shortest life of a token; how long a send may be in doubt follows from the two.
REQUEST_SECONDS, TOKEN_SECONDS = 1.0, 10
HISTORY_BARS = 72
# The first proof, on a machine that has other work to do.
START_SECONDS = 240.0
BACK_SECONDS = 120.0
_ON_THE_WAY = (services.BRIDGE, services.ORCHESTRATOR, services.VALIDATOR, services.RISK, services.EXECUTOR)
_QUICK = {
    "DRAIN_SECONDS": "0.5",
    "OPENBLAS_NUM_THREADS": "1",
    "EXCHANGE_CONNECT_SECONDS": str(REQUEST_SECONDS * 0.8),
    "EXCHANGE_READ_SECONDS": str(REQUEST_SECONDS * 0.8),
    "EXCHANGE_TOTAL_SECONDS": str(REQUEST_SECONDS),
    "EXCHANGE_TOKEN_SECONDS": str(TOKEN_SECONDS),
    "RECONCILE_SECONDS": "0.5",
    # The proxy passes no WebSocket on.
    "FEEDS": "false",
    "LEASE_SECONDS": "3",
    "RECOMMENDATION_TTL_SECONDS": "15",
    "MARKET_HISTORY_BARS": str(HISTORY_BARS),
}
# What stands still or is wanted many times: market time does not move during a drill, so nothing that counts by it ends.
_WIDE_LIMITS = {
    "RISK_VOL_BARS": "48",
    "RISK_MIN_REAL_BARS": "24",
    "RISK_COOLDOWN_LOSS_MINUTES": "0",
    "RISK_COOLDOWN_ENTRY_MINUTES": "0",
    "RISK_ORDERS_PER_MINUTE": "100000",
    "RISK_PRODUCT_ORDERS_PER_MINUTE": "100000",
    "RISK_DAILY_LOSS_RATIO": "1",
    "RISK_DRAWDOWN_RATIO": "1",
    "RISK_LIQUIDITY_RATIO": "1",
}


@dataclass
class World:
    """A running drill ground."""

    mesh: LiveMesh
    proxy: FaultProxy
    hand: HandTrader
    operator: Operator
    ledger: LedgerRows

    @property
    def folder(self) -> Path:
        """Where the processes write their logs."""
        return self.mesh.plan.home.root

    def kill(self, victim: str) -> bool:
        """SIGKILL now; False if it is not alive at this moment."""
        if victim == DATABASE:
            postmaster = find_postmaster(self.mesh.plan.home.postgres)
            pid = postmaster.pid if postmaster is not None else None
        else:
            pid = self.mesh.pids().get(victim)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    async def until_back(self) -> None:
        """Returns when everybody an order needs proves itself. TimeoutError names who does not.

        Those it does not need (MARKET, SIGNAL, MONITOR) come back beside the next runs; see `until_all_back`.
        """
        await self._until_back(_ON_THE_WAY)

    async def until_all_back(self) -> None:
        """Returns when everybody proves itself, also those that no order needs. TimeoutError names who does not."""
        await self._until_back(SERVICES)

    async def _until_back(self, wanted: Iterable[ServiceName]) -> None:
        left = set(wanted)
        end = time.monotonic() + BACK_SECONDS
        while True:
            left -= {service for service in left if await self.operator.serves(service)}
            exchange = await self.hand.answers()
            if not left and exchange:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"not back: {sorted(one.name for one in left) or SIMULATOR}")
            await asyncio.sleep(0.1)

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Rows of the ledger."""
        return await self.ledger.fetch(query, *arguments)


def _plan(postgres: EmbeddedPostgres, home: MeshHome, proxy_port: int, ca: Path) -> MeshPlan:
    return replace(
        plan_of(postgres, home, PRODUCTS, {}),
        run_id="drill",
        simulator=SimulatorPlan("simulated", 1.0, 7, MARKET_START, history_days=HISTORY_BARS // 24 + 4),
        extra={
            **_QUICK,
            **_WIDE_LIMITS,
            "EXCHANGE_HOST": f"127.0.0.1:{proxy_port}",
            "EXCHANGE_CA_FILE": str(ca),
        },
    )


def _instance(plan: MeshPlan) -> Instance:
    """What the commands of a shell learn about this instance from."""
    return Instance(
        market="simulated",
        venue=plan.venue,
        profile=plan.profile,
        products=plan.products,
        granularity=plan.granularity,
        seed=7,
        speed=1.0,
        run_id=plan.run_id,
        history_bars=HISTORY_BARS,
        services=plan.ports.of_service,
        simulator_port=plan.ports.simulator,
        page_port=plan.ports.page,
    )


def _units(plan: MeshPlan, postgres: EmbeddedPostgres, mark: InstanceMark, template: ForkLauncher) -> list[Unit]:
    """Every process. Readiness is proven by the drill: gRPC for asyncio shall live in one thread of this process."""
    simulator = simulator_unit(plan, mark)
    environment = {**simulator.spec.env, "SIM_OPENING_USD": OPENING_USD}
    found: list[Unit] = [
        PostgresUnit(postgres, DATABASE),
        migration_step(plan, (DATABASE,)),
        ProcessUnit(replace(simulator.spec, env=environment), plan.home.log_file(SIMULATOR), mark, template),
    ]
    for service in plan.services:
        unit = service_unit(plan, service, mark, (MIGRATIONS, SIMULATOR))
        spec = replace(unit.spec, ready=always_ready, alive=None)
        found.append(ProcessUnit(spec, plan.home.log_file(service.name), mark, template))
    return found


@contextmanager
def _held(root: Path) -> Any:
    home = MeshHome.at(root)
    with hold_instance(home) as run_id:
        yield home, run_id


@asynccontextmanager
async def drill_world(root: Path) -> AsyncIterator[World]:
    """A world in `root`, ready for a first run; everything it started is gone afterwards."""
    with _held(root) as (home, run_id):
        postgres = EmbeddedPostgres(home.postgres, home.log_file(DATABASE), "trading")
        tls = ensure_tls(home.root / "proxy")
        proxy_port = free_ports(1)[0]
        plan = _plan(postgres, home, proxy_port, tls.ca)
        make_identities(plan)
        write_simulator_keys(plan)
        write_instance(home, _instance(plan))
        key = new_key("organizations/drill/apiKeys/hand")
        known = json.loads(plan.simulator_keys.read_text())
        plan.simulator_keys.write_text(json.dumps([*known, key.known]))
        mark = InstanceMark(str(home.root), run_id)
        template = template_of(plan, mark)
        supervisor = Supervisor(
            home,
            run_id,
            _units(plan, postgres, mark, template),
            labels={"mode": "drill"},
            on_event=lambda event: None,
            # The same keeper as everywhere, and quick: here every death is on purpose.
            policy=RestartPolicy(0.05, 1.0, 30.0, 1_000_000, 60.0),
        )
        mesh = LiveMesh(plan, postgres, supervisor)
        timeouts = Timeouts(REQUEST_SECONDS, TOKEN_SECONDS)
        proxy = FaultProxy(proxy_port, tls, plan.simulator_host, plan.simulator_ca, timeouts)
        ledger = LedgerRows(lambda: asyncpg.connect(**plan.database_address.arguments("mesh")), BACK_SECONDS)
        world = World(mesh, proxy, HandTrader(plan.simulator_host, plan.simulator_ca, key), Operator(mesh), ledger)
        await proxy.start()
        try:
            with template, supervised(supervisor):
                try:
                    await _prove(world)
                    yield world
                finally:
                    await world.operator.close()
                    ledger.disconnect()
        finally:
            await proxy.stop()
            await asyncio.to_thread(postgres.stop)


async def _prove(world: World) -> None:
    """Waits for health, candles and the opening of the ledger."""
    await world.mesh.until_health(lambda service: "", SERVING, START_SECONDS)
    query = """SELECT EXISTS (SELECT 1 FROM watermarks WHERE stage = 'market')
               AND (SELECT count(DISTINCT product_id) FROM crypto_prices) = $1
               AND EXISTS (SELECT 1 FROM ledger_entries) AS ready"""
    async with asyncio.timeout(START_SECONDS):
        while not (await world.fetch(query, len(PRODUCTS)))[0]["ready"]:
            await asyncio.sleep(0.2)
