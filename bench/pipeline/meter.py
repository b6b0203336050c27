"""What the processes and the database have used up: CPU seconds, transactions that write, the write-ahead log, memory.

Transactions that write are counted by their ids, which are exact at once. Of `pg_stat_database.xact_commit` a session may tell
its share a quarter of a minute later, when the next load is measured: all transactions are counted in the log of statements.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from bench.pipeline.rows import Rows
from supervisor.postmaster import find_postmaster
from tests.support.live_mesh import LiveMesh

POSTGRES = "postgres"
# A session that was busy a moment ago tells the rest of its flushes when it has been idle for ten seconds.
_TOLD_SECONDS = 13.0
_DATABASE = """
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::float8 AS writes,
           pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS wal_bytes,
           (SELECT coalesce(sum(fsyncs), 0)::float8 FROM pg_stat_io WHERE object = 'wal') AS wal_flushes,
           (SELECT wal_fpi::float8 FROM pg_stat_wal) AS page_images
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters that only grow, and when they were read (monotonic seconds). `cpu` by process name."""

    at: float
    cpu: Mapping[str, float]
    database: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Use:
    """What was used between two readings."""

    seconds: float
    cpu: Mapping[str, float]
    database: Mapping[str, float]

    def per_item(self, rest: "Use", executed: int) -> "Use":
        """Per executed recommendation, less what is used at rest in as long a time."""
        share = self.seconds / rest.seconds

        def less(ours: Mapping[str, float], idle: Mapping[str, float]) -> dict[str, float]:
            return {name: (value - idle.get(name, 0.0) * share) / executed for name, value in ours.items()}

        return Use(self.seconds / executed, less(self.cpu, rest.cpu), less(self.database, rest.database))

    def per_second(self) -> "Use":
        """Each second; CPU so is a share of one core."""

        def each(values: Mapping[str, float]) -> dict[str, float]:
            return {name: value / self.seconds for name, value in values.items()}

        return Use(1.0, each(self.cpu), each(self.database))


def used(before: Reading, after: Reading) -> Use:
    """The difference; a process that has ended since is left out."""
    database = {name: after.database[name] - before.database[name] for name in before.database}
    cpu = {name: after.cpu[name] - before.cpu[name] for name in before.cpu if name in after.cpu}
    return Use(after.at - before.at, cpu, database)


class Meter:
    """Reads the counters of one mesh."""

    def __init__(self, mesh: LiveMesh, rows: Rows) -> None:
        self._mesh = mesh
        self._rows = rows

    async def read(self) -> Reading:
        """All counters, when every session has told what it did. Two readings in a row so are a measure of rest."""
        await asyncio.sleep(_TOLD_SECONDS)
        await self._rows.execute("SELECT pg_stat_clear_snapshot()")
        database = await self._rows.row(_DATABASE)
        return Reading(time.monotonic(), self.cpu(), database)

    def cpu(self) -> dict[str, float]:
        """CPU seconds of every process tree by name, children that have ended included."""
        return {name: _tree_seconds(pid) for name, pid in self.pids().items()}

    def memory(self) -> dict[str, int]:
        """Proportional set size in bytes by name: memory that processes share is divided among them."""
        return {name: sum(_pss(one) for one in _tree(pid)) for name, pid in self.pids().items()}

    def pids(self) -> dict[str, int]:
        """Services, simulator and PostgreSQL."""
        postmaster = find_postmaster(self._mesh.plan.home.postgres)
        found = dict(self._mesh.pids())
        return found | ({POSTGRES: postmaster.pid} if postmaster is not None else {})


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _tree_seconds(pid: int) -> float:
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
