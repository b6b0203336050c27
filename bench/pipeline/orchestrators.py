"""Several orchestrators on one database: the burst again with more of them, one that is killed in the middle, and a second one
with a validator and a risk service of its own."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from bench.pipeline.exchange_peer import config_of
from bench.pipeline.load import Creator, Load
from bench.pipeline.loads import BurstFigures, Progress, burst_figures
from bench.pipeline.mesh import PRODUCTS, Bench, BenchFailed
from bench.pipeline.processes import Beside, beside
from cli.calls import operator_channel
from cli.plan import LOOPBACK, MeshPlan
from exchange_client.adapters import open_exchange
from supervisor.ports import free_ports
from tests.support.live_mesh import SERVING, check
from tests.support.replicas import ended_by, spec_of, until_serving
from tradekit import services
from tradekit.services import ServiceName

OWN = services.ORCHESTRATOR.name
# Whom an orchestrator calls and who may run more than once.
CALLED = (services.VALIDATOR, services.RISK)
_START_SECONDS = 120.0
# Of market time: every order of the burst is younger.
_LOOK_BACK = timedelta(hours=2)
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class OrchestratorFigures:
    """A burst with so many of them: `by` is how many recommendations each ended. `all_twice`: validator and risk run twice too.
    With one killed, `twice` are those of which rows or exchange have more than one order, `killed_at` is how many had ended by
    then."""

    orchestrators: int
    killed: bool
    all_twice: bool
    burst: BurstFigures
    by: Mapping[str, int]
    killed_at: int = 0
    twice: int = 0


def more_than_once(client_ids: list[str], wanted: frozenset[str]) -> int:
    """How many of these ids stand more than once in a list."""
    return sum(count > 1 for name, count in Counter(client_ids).items() if name in wanted)


async def several(
    bench: Bench, counts: tuple[int, ...], items: int, wait: float, folder: Path, progress: Progress
) -> list[OrchestratorFigures]:
    """A burst with each number of orchestrators; the last number once more, with one of them killed; and all stages twice."""
    found = []
    for number, (count, kill, all_twice) in enumerate(runs_of(counts)):
        await bench.fresh_hour()
        own = folder / f"orchestrators-{number}"
        own.mkdir(mode=0o700)
        with further(bench.mesh.plan, count - 1, own, all_twice) as running:
            await _ready(bench, running)
            found.append(await _burst(bench, running, count, items, wait, kill, all_twice, progress))
    return found


def runs_of(counts: tuple[int, ...]) -> list[tuple[int, bool, bool]]:
    """How many orchestrators, whether one is killed, whether each has a validator and a risk service of its own."""
    runs = [(count, False, False) for count in counts]
    return [*runs, (counts[-1], True, False), (2, False, True)] if counts[-1] > 1 else runs


@dataclass(frozen=True)
class Further:
    """Orchestrators beside the mesh's own, by name with their ports; and the other services that they call."""

    processes: Beside | None
    ports: Mapping[str, int]
    called: Mapping[ServiceName, int]


@contextmanager
def further(plan: MeshPlan, count: int, folder: Path, all_twice: bool) -> Iterator[Further]:
    """So many more, each with a port of its own and everything else as the mesh's own orchestrator has it."""
    if not count:
        yield Further(None, {}, {})
        return
    called = dict(zip(CALLED, free_ports(len(CALLED)), strict=True)) if all_twice else {}
    ports = {f"{OWN}-{number + 2}": port for number, port in enumerate(free_ports(count))}
    addresses = {one.address_variable: f"{LOOPBACK}:{port}" for one, port in called.items()}
    specs = [spec_of(plan, one, f"{one.name}-2", port) for one, port in called.items()]
    specs += [spec_of(plan, services.ORCHESTRATOR, name, port, addresses) for name, port in ports.items()]
    with beside(folder, specs) as processes:
        yield Further(processes, ports, called)


async def _ready(bench: Bench, running: Further) -> None:
    """Until each serves, and takes entries."""
    if running.processes is None:
        return
    end = asyncio.get_running_loop().time() + _START_SECONDS
    for one, port in running.called.items():
        await until_serving(bench.mesh.plan, one, port)
    for name, port in running.ports.items():
        async with operator_channel(bench.mesh.plan.home, f"{LOOPBACK}:{port}") as channel:
            while await check(channel, f"{services.ORCHESTRATOR.full_name}/entries") != SERVING:
                if asyncio.get_running_loop().time() > end:
                    raise BenchFailed(f"{name} does not serve: {running.processes.log(name)[-1500:]}")
                await asyncio.sleep(0.2)


async def _burst(
    bench: Bench,
    running: Further,
    count: int,
    items: int,
    wait: float,
    kill: bool,
    all_twice: bool,
    progress: Progress,
) -> OrchestratorFigures:
    creating = asyncio.create_task(Creator(bench.bridge, PRODUCTS, progress).burst(items))
    killed_at = await _kill_in_the_middle(bench, running, items, wait, creating) if kill else 0
    load = await creating
    await bench.rows.until_ended(wait)
    found = await bench.rows.moments(load.ids)
    wanted = set(map(str, load.ids))
    logs = {OWN: bench.mesh.log(OWN)}
    if running.processes is not None:
        logs |= {name: running.processes.log(name) for name in running.ports}
    return OrchestratorFigures(
        orchestrators=count,
        killed=kill,
        all_twice=all_twice,
        burst=burst_figures(load, found),
        by={name: len(ended_by(log) & wanted) for name, log in logs.items()},
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
