"""Plays plans in several lanes at once: a lane mostly waits, for timeouts, restarts and the exchange's habits."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from schema.migrate import migrate
from supervisor.embedded_postgres import SUPERUSER
from supervisor.forking import ForkLauncher
from tests.chaos.checks import UNKNOWN_SECONDS
from tests.chaos.lane import EXECUTOR, ExecutorProgram, Lane, engine_of
from tests.chaos.parties import TEMPLATE_DATABASE, Database, launcher_of
from tests.chaos.plan import ChaosPlan
from tests.chaos.run import Player, RunResult

# So few that the histories of a chapter are short.
_CHAPTER_RUNS = 75
Heard = Callable[[RunResult], None]


@dataclass
class Ground:
    """What lanes are made from: a process to fork programs from, and a migrated cluster to copy."""

    folder: Path
    launcher: ForkLauncher
    cluster: Database
    _made: int = field(default=0, init=False)

    def lane(self, executor: ExecutorProgram = EXECUTOR) -> Lane:
        """One more; its executor is this program."""
        self._made += 1
        home = self.folder / f"lane-{self._made}"
        home.mkdir(mode=0o755)
        database = Database(home / "postgres", home / "postgres.log")
        self.cluster.copy_to(database.folder)
        return Lane(home, database, self.launcher, executor)


@asynccontextmanager
async def ground(*modules: str) -> AsyncIterator[Ground]:
    """`modules` are run beside the product's. Nothing is left afterwards."""
    folder = _folder()
    try:
        with launcher_of(folder, *modules) as launcher:
            yield Ground(folder, launcher, await _migrated(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    """A new folder that the database's own account may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-chaos-"))
    folder.chmod(0o755)
    return folder


async def _migrated(folder: Path) -> Database:
    """A server that is stopped again, whose database the chapters begin with."""
    cluster = Database(folder / "postgres", folder / "postgres.log")
    await cluster.start()
    try:
        address = cluster.server.address
        engine = engine_of({"DB_HOST": address.host, "DB_USER": SUPERUSER, "DB_NAME": TEMPLATE_DATABASE})
        await migrate(engine)
        await engine.dispose()
    finally:
        await cluster.stop()
    return cluster


async def campaign(
    place: Ground, plans: Iterable[ChaosPlan], lanes: int, heard: Heard, keep: Path | None = None
) -> None:
    """Tells every run with its judgement as it ends. What a violation leaves behind is copied to a folder in `keep`."""
    remaining = iter(plans)
    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(play(place.lane(), remaining, heard, keep))


async def play(
    lane: Lane,
    plans: Iterator[ChaosPlan],
    heard: Heard,
    keep: Path | None = None,
    patience_seconds: float = UNKNOWN_SECONDS,
) -> None:
    """Runs until none is left, in one lane. An account that shows a violation is not used again."""
    left = 0
    async with lane.running():
        for plan in plans:
            if not left:
                await lane.begin_chapter()
                player, left = Player(lane, patience_seconds), _CHAPTER_RUNS
            result = await player.play(plan)
            left = 0 if result.violations else left - 1
            if result.violations and keep is not None:
                _copy_traces(lane, keep / f"seed-{plan.seed}")
            heard(result)


def _copy_traces(lane: Lane, folder: Path) -> None:
    """The processes' words, and everything that passed the proxy in this chapter."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for log in lane.folder.glob("*.log"):
        shutil.copy(log, folder)
    with (folder / "passages.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(f"{passage.as_json()}\n" for passage in lane.proxy.passages)
