"""A full disk is no defect of a process: database and simulated exchange are tried until there is room, and the state file
goes on telling.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.ports import free_ports
from supervisor.processes import ProcessIdentity
from supervisor.state import MeshState, ServiceState, Status, read_state, write_state
from tests.supervise.conftest import Mesh, new_mesh, wait_until


def mount(folder: Path, size: str) -> None:
    """A file system of its own and of this size, or a skipped test."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    found = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(folder)], check=False)
    if found.returncode != 0:
        pytest.skip("this machine does not let a small disk be mounted")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount(folder, "1m")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def mesh_on_a_small_disk() -> Iterator[Mesh]:
    running = new_mesh()
    mount(running.home.root, "160m")
    try:
        yield running
    finally:
        running.clean_up()
        subprocess.run(["umount", "-l", str(running.home.root)], check=True)
        shutil.rmtree(running.home.root, ignore_errors=True)


def fill(file: Path) -> None:
    """Takes every byte that is left."""
    with file.open("wb", buffering=0) as opened:
        try:
            while opened.write(b"x" * 65_536):
                pass
        except OSError:
            return


def test_the_state_is_told_on_a_disk_that_has_become_full(small_disk: Path) -> None:
    path = small_disk / "state.json"
    state = MeshState("run", ProcessIdentity(1, 1.0), "now", {}, (ServiceState("postgres"),))
    for detail in ("one", "two"):
        write_state(path, replace(state, services=(replace(state.services[0], detail=detail),)))
    fill(small_disk / "rest")
    for number in range(50):
        told = replace(state, services=(replace(state.services[0], status=Status.BACKOFF, detail=f"{number}" * 40),))
        write_state(path, told)
        assert read_state(path) == told


def test_a_database_on_a_full_disk_says_so_and_is_back_when_there_is_room(mesh_on_a_small_disk: Mesh) -> None:
    mesh = mesh_on_a_small_disk
    mesh.up_and_ready([{"name": "postgres", "postgres": True}, {"name": "worker", "argv": mesh.SLEEPER}])
    rest, server = mesh.home.root / "rest", mesh.pid_of("postgres")
    fill(rest)
    os.kill(server, 9)
    # Its recovery needs room: each start fails, more often than parks a process with a defect.
    wait_until(lambda: mesh.service("postgres").restarts >= 5, 600)
    told = mesh.service("postgres")
    assert told.status in (Status.BACKOFF, Status.STARTING)
    assert "No space left on device" in (told.last_exit + told.detail), told
    rest.unlink()
    wait_until(lambda: mesh.ready_pid("postgres") not in (None, server), 300)
    assert mesh.service("worker").status is Status.READY


def test_a_simulated_exchange_on_a_full_disk_is_back_when_there_is_room(mesh: Mesh, small_disk: Path) -> None:
    port = free_ports(1)[0]
    settings = {"SIM_PORT": str(port), "SIM_STATE_DIR": str(small_disk), "SIM_SPEED": "1000", "SIM_PRODUCTS": "BTC-USD"}
    simulator = {
        "name": "exchange_sim",
        "argv": [sys.executable, "-m", "exchange_sim"],
        "env": settings,
        "ready": f"https://127.0.0.1:{port}/api/v3/brokerage/time",
        "ca": str(small_disk / "tls" / "ca.pem"),
        "parks": False,
    }
    mesh.up_and_ready([simulator])
    first = mesh.pid_of("exchange_sim")
    fill(small_disk / "rest")
    # It dies of its next write; each start fails, more often than parks a process with a defect.
    wait_until(lambda: mesh.service("exchange_sim").restarts >= 6, 600)
    assert mesh.service("exchange_sim").status in (Status.BACKOFF, Status.STARTING)
    (small_disk / "rest").unlink()
    wait_until(lambda: mesh.ready_pid("exchange_sim") not in (None, first), 300)
