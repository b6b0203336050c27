"""What else could do the work, or a part of it, in the same run on the same machine: DBOS, bare gRPC, the exchange alone."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.pipeline import exchange_peer, grpc_chain
from bench.pipeline.figures import Spread, spread
from bench.pipeline.load import CALLS_AT_ONCE
from bench.pipeline.mesh import Bench
from bench.pipeline.processes import beside
from cli.plan import LOOPBACK
from supervisor.ports import free_ports
from supervisor.python_process import ROOT, python_environment, run_module
from supervisor.unit import ProcessSpec

DBOS_DATABASE = "dbos_bench"
# Queue or direct start, threads or an event loop, and how many at once. The best on a part of the items does all.
DBOS_SETTINGS = ("queue-8", "queue-32", "direct-8", "direct-32", "async-8", "async-32")
DBOS_TRIAL = 200
DBOS_ALONE = 50
DBOS_SECONDS = 900.0
NO_DBOS = "not installed: pip install 'trading-mesh[bench]', or dbos alone, measures it too"
_START_SECONDS = 60.0
_CHAIN = ("front", "first", "second", "end")

Said = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """One of them: what it did how often a second, how long one alone took, and with which setting. Or why it was skipped."""

    name: str
    what: str
    per_second: float | None = None
    alone: Spread | None = None
    setting: str = ""
    skipped: str = ""


def has_dbos() -> bool:
    """Whether DBOS Transact is installed."""
    return importlib.util.find_spec("dbos") is not None


async def peers(bench: Bench, items: int, folder: Path, said: Said) -> list[PeerFigures]:
    """All of them, one after the other, while the mesh rests."""
    return [
        await _dbos(bench, items, folder, said),
        await _chain(bench, items, folder, said),
        await _exchange(bench, items, folder, said),
    ]


async def _dbos(bench: Bench, items: int, folder: Path, said: Said) -> PeerFigures:
    name, what = "DBOS Transact", "workflows of three durable steps"
    if not has_dbos():
        return PeerFigures(name, what, skipped=NO_DBOS)
    await bench.rows.execute(f"DROP DATABASE IF EXISTS {DBOS_DATABASE}")
    await bench.rows.execute(f"CREATE DATABASE {DBOS_DATABASE}")
    trials = {}
    for setting in DBOS_SETTINGS:
        said(f"DBOS, trying {setting}")
        trials[setting], _ = await _dbos_run(bench, folder, setting, min(items, DBOS_TRIAL), 0)
    best = max(trials, key=lambda setting: trials[setting])
    said(f"DBOS, {items} with {best}")
    per_second, alone = await _dbos_run(bench, folder, best, items, DBOS_ALONE)
    return PeerFigures(name, what, per_second, spread(alone), best)


async def _dbos_run(bench: Bench, folder: Path, setting: str, items: int, alone: int) -> tuple[float, list[float]]:
    address = bench.mesh.plan.database_address
    url = f"postgresql://{address.user}@/{DBOS_DATABASE}?host={address.host}&port={address.port}"
    arguments = ("bench.pipeline.dbos_worker", url, setting, str(items), str(alone))
    name = f"dbos-{setting}-{'all' if alone else 'trial'}"
    spec = _spec(bench, name, *arguments)
    with beside(_folder(folder, name), [spec]) as running:
        found = json.loads(await running.until_written(name, "figures ", DBOS_SECONDS))
    return float(found["per_second"]), [float(seconds) for seconds in found["alone"]]


async def _chain(bench: Bench, items: int, folder: Path, said: Said) -> PeerFigures:
    said("bare gRPC")
    ports = dict(zip(_CHAIN, free_ports(len(_CHAIN)), strict=True))
    following = [f"{LOOPBACK}:{ports[name]}" for name in _CHAIN[1:]]
    kinds = {"front": "front", "first": "stream", "second": "stream", "end": "end"}
    specs = [
        _spec(
            bench,
            name,
            "bench.pipeline.grpc_chain",
            kinds[name],
            str(ports[name]),
            *(following if name == "front" else ()),
        )
        for name in _CHAIN
    ]
    with beside(_folder(folder, "grpc"), specs) as running:
        for name in _CHAIN:
            await running.until_written(name, "ready", _START_SECONDS)
        best, found = "", (0.0, [0.0])
        for at_once in (CALLS_AT_ONCE, 4 * CALLS_AT_ONCE):
            measured = await grpc_chain.measured(f"{LOOPBACK}:{ports['front']}", items, at_once)
            if measured[0] > found[0]:
                best, found = f"{at_once} at once", measured
    return PeerFigures("bare gRPC", "messages over the same four hops", found[0], spread(found[1]), best)


async def _exchange(bench: Bench, items: int, folder: Path, said: Said) -> PeerFigures:
    said("the simulated exchange alone")
    with exchange_peer.own_exchange(bench.mesh.plan, folder / "exchange") as config:
        per_second, alone = await exchange_peer.measured(config, items, CALLS_AT_ONCE)
    what = "orders made and read through the exchange client"
    return PeerFigures("simulated exchange", what, per_second, spread(alone), f"{CALLS_AT_ONCE} at once")


def _spec(bench: Bench, name: str, *module: str) -> ProcessSpec:
    environment = python_environment({**bench.mesh.plan.inherited, "PYTHONUNBUFFERED": "1"})
    return ProcessSpec(name=name, argv=run_module(*module), env=environment, cwd=ROOT)


def _folder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o700)
    return made
