"""Several orchestrators on one database: the burst again with more of them, and one that is killed in the middle."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from bench.pipeline.exchange_peer import config_of
from bench.pipeline.figures import EXECUTED
from bench.pipeline.load import Creator, Load
from bench.pipeline.loads import BurstFigures, Progress, burst_figures
from bench.pipeline.mesh import PRODUCTS, Bench, BenchFailed
from bench.pipeline.processes import Beside, beside
from cli.calls import operator_channel
from cli.plan import LOOPBACK, MeshPlan
from cli.stack import service_unit
from exchange_client.adapters import open_exchange
from supervisor.home import MeshHome
from supervisor.ports import free_ports
from supervisor.processes import InstanceMark
from supervisor.unit import ProcessSpec
from tests.support.live_mesh import SERVING, check
from tradekit import services

OWN = services.ORCHESTRATOR.name
_START_SECONDS = 120.0
# Of market time: every order of the burst is younger.
_LOOK_BACK = timedelta(hours=2)
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class OrchestratorFigures:
    """A burst with so many of them: `by` is how many recommendations each ended. With one killed, `twice` are those of which
    rows or exchange have more than one order, `killed_at` is how many had ended by then."""

    orchestrators: int
    killed: bool
    burst: BurstFigures
    by: Mapping[str, int]
    killed_at: int = 0
    twice: int = 0


def ended_by(log: str, wanted: frozenset[str]) -> int:
    """How many of these recommendations a process says it has ended as executed."""
    found = set()
    for line in log.splitlines():
        if '"recommendation"' not in line:
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line that was being written
        if entry.get("event") == "recommendation" and entry.get("to_state") == EXECUTED:
            found.add(entry.get("recommendation_id"))
    return len(found & wanted)


def more_than_once(client_ids: list[str], wanted: frozenset[str]) -> int:
    """How many of these ids stand more than once in a list."""
    return sum(count > 1 for name, count in Counter(client_ids).items() if name in wanted)


async def several(
    bench: Bench, counts: tuple[int, ...], items: int, wait: float, folder: Path, progress: Progress
) -> list[OrchestratorFigures]:
    """A burst with each number of orchestrators; the last number once more, with one of them killed."""
    found = []
    runs = [(count, False) for count in counts]
    if counts[-1] > 1:
        runs.append((counts[-1], True))
    for number, (count, kill) in enumerate(runs):
        await bench.fresh_hour()
        own = folder / f"orchestrators-{number}"
        own.mkdir(mode=0o700)
        with further(bench.mesh.plan, count - 1, own) as running:
            await _ready(bench, running)
            found.append(await _burst(bench, running, count, items, wait, kill, progress))
    return found


@dataclass(frozen=True)
class Further:
    """Orchestrators beside the mesh's own, by name with their ports."""

    processes: Beside | None
    ports: Mapping[str, int]


@contextmanager
def further(plan: MeshPlan, count: int, folder: Path) -> Iterator[Further]:
    """So many more, each with a port of its own and everything else as the mesh's own orchestrator has it."""
    if not count:
        yield Further(None, {})
        return
    ports = {f"{OWN}-{number + 2}": port for number, port in enumerate(free_ports(count))}
    specs = [_spec(plan, name, port, folder) for name, port in ports.items()]
    with beside(folder, specs) as processes:
        yield Further(processes, ports)


def _spec(plan: MeshPlan, name: str, port: int, folder: Path) -> ProcessSpec:
    own = replace(plan, ports=replace(plan.ports, of_service={**plan.ports.of_service, OWN: port}))
    spec = service_unit(own, services.ORCHESTRATOR, InstanceMark(str(MeshHome.at(folder).root), folder.name), ()).spec
    return ProcessSpec(name=name, argv=spec.argv, env=spec.env, cwd=spec.cwd, stop_grace_seconds=20.0)


async def _ready(bench: Bench, running: Further) -> None:
    """Until each serves, and takes entries."""
    if running.processes is None:
        return
    end = asyncio.get_running_loop().time() + _START_SECONDS
    for name, port in running.ports.items():
        async with operator_channel(bench.mesh.plan.home, f"{LOOPBACK}:{port}") as channel:
            while await check(channel, f"{services.ORCHESTRATOR.full_name}/entries") != SERVING:
                if asyncio.get_running_loop().time() > end:
                    raise BenchFailed(f"{name} does not serve: {running.processes.log(name)[-1500:]}")
                await asyncio.sleep(0.2)


async def _burst(
    bench: Bench, running: Further, count: int, items: int, wait: float, kill: bool, progress: Progress
) -> OrchestratorFigures:
    creating = asyncio.create_task(Creator(bench.bridge, PRODUCTS, progress).burst(items))
    killed_at = await _kill_in_the_middle(bench, running, items, wait, creating) if kill else 0
    load = await creating
    await bench.rows.until_ended(wait)
    found = await bench.rows.moments(load.ids)
    wanted = frozenset(map(str, load.ids))
    logs = {OWN: bench.mesh.log(OWN)}
    if running.processes is not None:
        logs |= {name: running.processes.log(name) for name in running.ports}
    return OrchestratorFigures(
        orchestrators=count,
        killed=kill,
        burst=burst_figures(load, found),
        by={name: ended_by(log, wanted) for name, log in logs.items()},
        killed_at=killed_at,
        twice=await _twice(bench, load.ids),
    )


async def _kill_in_the_middle(
    bench: Bench, running: Further, items: int, wait: float, creating: asyncio.Task[Load]
) -> int:
    """Kills the newest one when a third of the burst has ended; how many had ended then."""
    assert running.processes is not None
    name = list(running.ports)[-1]
    ended = "SELECT count(*) FROM trade_recommendations WHERE state = 'EXECUTED' AND created_at >= $1"
    began = await bench.rows.value("SELECT clock_timestamp()")
    end = time.monotonic() + wait
    while True:
        done = int(await bench.rows.value(ended, began))
        none_left = creating.done() and not await bench.rows.open()
        if done >= items / 3 or none_left or time.monotonic() > end:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    pid = running.processes.pid(name)
    if pid is None:
        raise BenchFailed(f"{name} had ended before it was killed: {running.processes.log(name)[-1500:]}")
    os.kill(pid, signal.SIGKILL)
    return done


async def _twice(bench: Bench, ids: list[UUID]) -> int:
    """Recommendations with more than one order, by the rows or by the exchange's own list of the account's orders."""
    query = """
        SELECT count(*) FROM (SELECT recommendation_id FROM orders WHERE recommendation_id = ANY($1::uuid[])
                              GROUP BY recommendation_id HAVING count(*) > 1) AS more
    """
    rows = int(await bench.rows.value(query, ids))
    texts = "SELECT array_agg(order_id::text) FROM orders WHERE recommendation_id = ANY($1::uuid[])"
    wanted = frozenset(await bench.rows.value(texts, ids) or ())
    exchange = await open_exchange(config_of(bench.mesh.plan))
    try:
        listed = [order.client_order_id for order in await exchange.orders(await exchange.market_time() - _LOOK_BACK)]
    finally:
        await exchange.close()
    return rows + more_than_once(listed, wanted)
