"""State folders outside pytest's own (other accounts must pass through), and a supervisor process per test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.home import MeshHome
from supervisor.instance import bring_down
from supervisor.processes import identity_of
from supervisor.state import ServiceState, Status, read_state

DRIVER = Path(__file__).with_name("supervise_driver.py")
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def wait_until(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Waits for an outcome; the limit only bounds a failing run."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return identity_of(pid) is None


class Mesh:
    """One state folder and the supervisor processes a test starts in it."""

    SLEEPER = SLEEPER
    wait_until = staticmethod(wait_until)
    gone = staticmethod(gone)

    def __init__(self, home: MeshHome) -> None:
        self.home = home
        self.postgres = EmbeddedPostgres(home.postgres, home.log_file("postgres"), "mesh")
        self.output = home.root / "driver.out"
        self._started: list[subprocess.Popen[bytes]] = []

    def command(self, plan: list[dict[str, object]]) -> list[str]:
        file = self.home.root / "plan.json"
        file.write_text(json.dumps(plan))
        return [sys.executable, str(DRIVER), str(self.home.root), str(file)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def up(self, plan: list[dict[str, object]]) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                self.command(plan),
                stdout=output,
                stderr=output,
                env=self.environment(),
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def up_and_ready(self, plan: list[dict[str, object]]) -> subprocess.Popen[bytes]:
        seen = self.text().count("all ready")
        process = self.up(plan)
        wait_until(lambda: self.text().count("all ready") > seen or process.poll() is not None)
        assert process.poll() is None, self.text()
        return process

    def text(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def service(self, name: str) -> ServiceState:
        state = read_state(self.home.state_file)
        assert state is not None
        return next(service for service in state.services if service.name == name)

    def pid_of(self, name: str) -> int:
        process = self.service(name).process
        assert process is not None
        return process.pid

    def ready_pid(self, name: str) -> int | None:
        """The pid of a service that is ready, read in one look."""
        service = self.service(name)
        return service.process.pid if service.status is Status.READY and service.process else None

    def log_of(self, name: str) -> str:
        file = self.home.log_file(name)
        return file.read_text() if file.exists() else ""

    def clean_up(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
        bring_down(self.home, self.postgres)


def new_mesh() -> Mesh:
    return Mesh(MeshHome.at(tempfile.mkdtemp(prefix="mesh-test-", dir="/tmp")))


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    running = new_mesh()
    try:
        yield running
    finally:
        running.clean_up()
        shutil.rmtree(running.home.root, ignore_errors=True)


@pytest.fixture(scope="session")
def kept_mesh() -> Iterator[Mesh]:
    """A state folder for many tests: making a cluster is most of the time of a first start."""
    kept = new_mesh()
    kept.home.prepare()
    try:
        kept.postgres.start()
        kept.postgres.stop()
        yield kept
    finally:
        kept.clean_up()
        shutil.rmtree(kept.home.root, ignore_errors=True)


@pytest.fixture
def mesh_with_ledger(kept_mesh: Mesh) -> Iterator[Mesh]:
    """A state folder whose cluster exists already; nothing runs in it before and after the test."""
    kept_mesh.output.unlink(missing_ok=True)
    yield kept_mesh
    kept_mesh.clean_up()
