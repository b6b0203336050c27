"""Starts a whole mesh as a user would, on free ports and in a folder of its own, for tests that look at it from outside."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from supervisor.ports import free_ports
from supervisor.python_process import PYTHONPATH
from tradekit.services import SERVICES

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS, DOWN_SECONDS = 240, 120
# The model, and the keys that sign it.
_OF_A_MODEL = ("model", "keys")


@dataclass(frozen=True)
class RunningMesh:
    """A mesh that is up: `ports` by service name, and `page` of the monitor."""

    home: Path
    env: dict[str, str]
    ports: dict[str, int]
    page: int

    def mesh(self, *words: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a `mesh` command against it."""
        return run_mesh(self.env, *words, seconds=seconds)


def run_mesh(env: dict[str, str], *words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)


def environment(home: Path) -> tuple[dict[str, str], dict[str, int], int]:
    """Environment of a mesh in `home` on free ports; those ports; the page's port."""
    numbers = free_ports(len(SERVICES) + 2)
    ports = {service.name: numbers[index] for index, service in enumerate(SERVICES)}
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {service.port_variable: str(ports[service.name]) for service in SERVICES}
    env |= {"SIM_PORT": str(numbers[-2]), "MONITOR_PAGE_PORT": str(numbers[-1]), "MESH_HOME": str(home)}
    env |= {"PYTHONPATH": PYTHONPATH, "TERM": "dumb", "COLUMNS": "200"}
    return env, ports, numbers[-1]


def start_mesh(home: Path, trained: Path) -> RunningMesh:
    """`mesh up --detach` on a simulated market of three products; a bar takes three seconds. The model of the first such mesh is
    kept in `trained`, and the others begin with it."""
    env, ports, page = environment(home)
    for name in _OF_A_MODEL:
        if trained.is_dir():
            shutil.copytree(trained / name, home / name)
    words = ("up", "--detach", "--products", "BTC-USD,ETH-USD,SOL-USD", "--speed", "1200")
    found = run_mesh(env, *words, seconds=UP_SECONDS)
    if found.returncode != 0:
        raise RuntimeError(f"mesh up ended with {found.returncode}:\n{found.stdout[-4000:]}\n{found.stderr[-4000:]}")
    if not trained.is_dir():
        _keep(home, trained)
    return RunningMesh(home, env, ports, page)


def _keep(home: Path, trained: Path) -> None:
    """All at once, as several test processes may do so."""
    with tempfile.TemporaryDirectory(dir=trained.parent) as folder:
        for name in _OF_A_MODEL:
            shutil.copytree(home / name, Path(folder) / "trained" / name)
        with suppress(OSError):
            (Path(folder) / "trained").rename(trained)
