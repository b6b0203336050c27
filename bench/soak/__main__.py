"""`make soak`: orders at a pace for half an hour, every process killed once, judged by the drill's checker."""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Processes are started beside open gRPC channels; with its fork handlers a child may die before it begins.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.pipeline.report import ms, number, table
from bench.soak.plan import WARM, Growth, Sample, growth_of, soak_plan
from tests.drill.plan import Kill, RunPlan
from tests.drill.report import told
from tests.drill.run import Player, RunResult
from tests.drill.world import World, drill_world

SAMPLE_SECONDS = 5.0
SLICES = 6
_MB = 1024 * 1024
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
# Over the time of the load: how many were created and how they ended.
_BY_TIME = """
SELECT width_bucket(extract(epoch FROM created_at - first), 0, $1, $2) AS slice, count(*) AS created,
       count(*) FILTER (WHERE state = 'EXECUTED') AS executed,
       (percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM updated_at - created_at))
        FILTER (WHERE state = 'EXECUTED'))::float8[] AS seconds
FROM trade_recommendations, (SELECT min(created_at) AS first FROM trade_recommendations) AS begin
GROUP BY 1 ORDER BY 1
"""
_ENDS = """
SELECT state, coalesce(reasons -> 0 ->> 'code', '') AS code, count(*) AS count FROM trade_recommendations
GROUP BY 1, 2 ORDER BY 3 DESC
"""


@dataclass(frozen=True)
class Slice:
    """A part of the time: executed ones with their time from creation to end."""

    created: int
    executed: int
    seconds: Sequence[float] | None


@dataclass(frozen=True)
class Soak:
    """What a soak came to."""

    result: RunResult
    growth: Sequence[Growth]
    slices: Sequence[Slice]
    ends: Sequence[tuple[str, str, int]]


async def soak(root: Path, seconds: float, per_second: float, out: Console) -> Soak:
    """Plays and judges it in a world of its own."""
    plan = soak_plan(seconds, per_second)
    async with drill_world(root) as world:
        samples: list[Sample] = []
        with Progress(*_COLUMNS, console=out) as progress:
            watching = asyncio.create_task(_watch(world, seconds, samples, progress), name="memory")
            try:
                result = await Player(world).play(plan)
            finally:
                watching.cancel()
                await asyncio.wait([watching])
        rows = await world.fetch(_BY_TIME, seconds, SLICES)
        ends = await world.fetch(_ENDS)
        if result.violations:
            kept = Path(tempfile.mkdtemp(prefix="mesh-soak-"))
            shutil.copytree(result.history, kept, dirs_exist_ok=True)
            (kept / "report.txt").write_text(told(plan, result.answers, result.violations) + "\n", encoding="utf-8")
            out.print(f"histories and logs are in {kept}")
        return Soak(
            result,
            growth_of(samples, seconds * WARM),
            [Slice(row["created"], row["executed"], row["seconds"]) for row in rows],
            [(row["state"], row["code"], row["count"]) for row in ends],
        )


async def _watch(world: World, seconds: float, samples: list[Sample], progress: Progress) -> None:
    """Notes everybody's resident memory until the load ends."""
    task = progress.add_task("trading", total=seconds)
    names = {service.name for service in world.mesh.plan.services}
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        for name, pid in world.mesh.pids().items():
            if name in names:
                try:
                    samples.append(Sample(at, name, pid, psutil.Process(pid).memory_info().rss))
                except psutil.NoSuchProcess:
                    continue
        alive = len(set(world.mesh.pids()) & names)
        progress.update(task, completed=at, description=f"trading, {alive} of {len(names)} services alive")
        await asyncio.sleep(SAMPLE_SECONDS)


def shown(found: Soak, plan: RunPlan, seconds: float, out: Console) -> None:
    """The tables."""
    killed = [step for step in plan.steps if isinstance(step, Kill)]
    dead = sum(f"{step}: killed" in found.result.answers for step in killed)
    out.print(
        table(
            f"{seconds / SLICES:.0f} seconds each; {dead} of {len(killed)} processes killed in the first third",
            ("part", "created", "executed", "to its end: p50 ms", "p99 ms"),
            [
                (str(place), str(one.created), str(one.executed), *(ms(value) for value in one.seconds or (None, None)))
                for place, one in enumerate(found.slices, 1)
            ],
        )
    )
    out.print(
        table("ends", ("state", "first reason", "number"), [(s, code or "-", str(n)) for s, code, n in found.ends])
    )
    rows = [
        (one.name, *(number(size / _MB) for size in (one.first, one.last, one.most, one.per_hour)))
        for one in found.growth
    ]
    title = f"resident memory after the first {seconds * WARM / 60:.0f} minutes, MB"
    out.print(table(title, ("service", "first", "last", "most", "per hour"), rows))
    for one in found.result.violations:
        out.print(f"{one.check}: {one.subject}: {one.what}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"{len(found.result.violations)} violation(s)")


def main() -> int:
    """Exit code 1 where anything was violated."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it trades")
    parser.add_argument("--pace", type=float, default=10.0, help="orders a second")
    given = parser.parse_args()
    if given.minutes <= 0 or given.pace <= 0:
        parser.error("--minutes and --pace are numbers above zero")
    out, seconds = Console(), given.minutes * 60
    root = Path(tempfile.mkdtemp(prefix="mesh-soak-"))
    root.chmod(0o755)
    try:
        found = asyncio.run(soak(root, seconds, given.pace, out))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    shown(found, soak_plan(seconds, given.pace), seconds, out)
    return 1 if found.result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
