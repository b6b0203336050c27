"""The supervisor as a process of its own: what lives, what dies with it, in which order, and who may start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from supervisor.detach import start_detached
from supervisor.instance import bring_down
from supervisor.processes import is_alive
from supervisor.python_process import python_environment
from supervisor.restart_request import ask_restart
from supervisor.starting import starting
from supervisor.state import Status, observe_state
from supervisor.unit import StartFailed

if TYPE_CHECKING:
    from tests.supervise.conftest import Mesh

GRANDCHILD = (
    sys.executable,
    "-c",
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print('grandchild', p.pid, flush=True); time.sleep(600)",
)


def test_a_killed_child_is_started_again_and_the_state_says_so(mesh: Mesh) -> None:
    mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    first = mesh.pid_of("worker")
    os.kill(first, signal.SIGKILL)
    mesh.wait_until(lambda: mesh.ready_pid("worker") not in (None, first))
    assert mesh.service("worker").restarts == 1
    assert mesh.service("worker").last_exit == "killed by SIGKILL"


def test_five_deaths_park_a_unit_and_leave_the_others_alone(mesh: Mesh) -> None:
    mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}, {"name": "steady", "argv": mesh.SLEEPER}])
    steady = mesh.pid_of("steady")
    killed: set[int | None] = {None}
    for _ in range(5):
        mesh.wait_until(lambda: mesh.ready_pid("worker") not in killed)
        pid = mesh.pid_of("worker")
        killed.add(pid)
        os.kill(pid, signal.SIGKILL)
    mesh.wait_until(lambda: mesh.service("worker").status is Status.PARKED)
    mesh.wait_until(lambda: "parked worker killed by SIGKILL; 5 deaths within 60 s" in mesh.text())
    assert mesh.pid_of("steady") == steady
    assert mesh.service("steady").status is Status.READY


def test_a_unit_is_started_anew_on_request_also_a_parked_one(mesh: Mesh) -> None:
    mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}, {"name": "steady", "argv": mesh.SLEEPER}])
    first, steady = mesh.pid_of("worker"), mesh.pid_of("steady")
    request = ask_restart(mesh.home.run, "worker")
    mesh.wait_until(lambda: mesh.ready_pid("worker") not in (None, first))
    assert not request.exists()
    killed: set[int | None] = {None, first}
    for _ in range(5):
        mesh.wait_until(lambda: mesh.ready_pid("worker") not in killed)
        killed.add(mesh.pid_of("worker"))
        os.kill(mesh.pid_of("worker"), signal.SIGKILL)
    mesh.wait_until(lambda: mesh.service("worker").status is Status.PARKED)
    ask_restart(mesh.home.run, "worker")
    mesh.wait_until(lambda: mesh.ready_pid("worker") not in killed)
    ask_restart(mesh.home.run, "no-such-unit")
    assert mesh.pid_of("steady") == steady


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_children_die_with_a_killed_supervisor_even_without_the_reaper(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    worker = mesh.pid_of("worker")
    for child in psutil.Process(supervisor.pid).children():
        if "supervisor.reaper" in child.cmdline():
            child.kill()
    supervisor.kill()
    supervisor.wait()
    mesh.wait_until(lambda: mesh.gone(worker))


def test_grandchildren_die_with_a_killed_supervisor(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": GRANDCHILD}])
    mesh.wait_until(lambda: len(mesh.log_of("worker").split()) > 1)
    grandchild = int(mesh.log_of("worker").split()[1])
    assert not mesh.gone(grandchild)
    supervisor.kill()
    supervisor.wait()
    mesh.wait_until(lambda: mesh.gone(grandchild))
    state = observe_state(mesh.home.state_file)
    assert state is not None and not is_alive(state.supervisor)
    assert [service.status for service in state.services] == [Status.GONE]


def test_grandchildren_die_with_their_stopped_service(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": GRANDCHILD}])
    mesh.wait_until(lambda: len(mesh.log_of("worker").split()) > 1)
    grandchild = int(mesh.log_of("worker").split()[1])
    supervisor.terminate()
    assert supervisor.wait(timeout=120) == 0
    mesh.wait_until(lambda: mesh.gone(grandchild))


def test_units_stop_in_reverse_and_each_only_after_its_dependents_ended(mesh: Mesh, tmp_path: Path) -> None:
    order = tmp_path / "order"
    program = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.2)\n"
        "    print(sys.argv[1], file=open(sys.argv[2], 'a')); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('set', flush=True); time.sleep(600)\n"
    )

    def unit(name: str, **more: object) -> dict[str, object]:
        return {"name": name, "argv": [sys.executable, "-c", program, name, str(order)], **more}

    supervisor = mesh.up_and_ready(
        [
            unit("page", depends_on=["store", "market"]),
            unit("store", stop_order=5),
            unit("market", depends_on=["store"]),
            unit("signal", depends_on=["market"]),
            unit("first", depends_on=["store"], stop_order=-1),
        ]
    )
    mesh.wait_until(lambda: all("set" in mesh.log_of(name) for name in ("page", "store", "market", "signal", "first")))
    supervisor.terminate()
    assert supervisor.wait(timeout=120) == 0
    names = order.read_text().split()
    assert names[0] == "first"
    assert set(names[1:3]) == {"page", "signal"}
    assert names[3:] == ["market", "store"]


def test_a_unit_that_ignores_sigterm_is_killed_after_its_grace(mesh: Mesh) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    supervisor = mesh.up_and_ready(
        [{"name": "deaf", "argv": [sys.executable, "-c", f"{deaf}; time.sleep(600)"], "grace": 0.5}]
    )
    mesh.wait_until(lambda: "deaf" in mesh.log_of("deaf"))
    pid = mesh.pid_of("deaf")
    supervisor.terminate()
    assert supervisor.wait(timeout=120) == 0
    assert mesh.gone(pid)


def test_a_second_instance_is_refused_and_told_who_is_there(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    second = mesh.up([{"name": "worker", "argv": mesh.SLEEPER}])
    assert second.wait(timeout=120) == 1
    assert f"{mesh.home.root} is in use by pid {supervisor.pid}" in mesh.text()
    assert supervisor.poll() is None


def test_a_step_runs_once_before_its_dependents_and_its_failure_fails_the_start(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready(
        [
            {"name": "migrate", "argv": [sys.executable, "-c", "print('done')"], "run_once": True},
            {"name": "worker", "argv": mesh.SLEEPER, "depends_on": ["migrate"]},
        ]
    )
    assert mesh.text().index("done migrate") < mesh.text().index("starting worker")
    assert mesh.service("migrate").status is Status.DONE
    supervisor.terminate()
    supervisor.wait(timeout=120)
    broken = [sys.executable, "-c", "raise SystemExit('no such table')"]
    failed = mesh.up(
        [
            {"name": "other", "argv": mesh.SLEEPER},
            {"name": "migrate", "argv": broken, "run_once": True},
        ]
    )
    assert failed.wait(timeout=120) == 1
    assert "migrate: exit code 1\nlast lines of its log:\nno such table" in mesh.text()
    assert "no such table" in mesh.text()
    state = observe_state(mesh.home.state_file)
    assert state is not None and not state.children


def test_down_from_another_shell_stops_a_running_supervisor(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    worker = mesh.pid_of("worker")
    report = bring_down(mesh.home, mesh.postgres)
    assert report.supervisor_pid == supervisor.pid
    assert not report.supervisor_killed
    assert supervisor.wait(timeout=60) == 0
    assert mesh.gone(worker)
    assert bring_down(mesh.home, mesh.postgres).nothing_ran


def test_down_kills_a_supervisor_that_does_not_react(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    worker = mesh.pid_of("worker")
    real = os.kill
    # It hangs for good: what a stopped one would be woken by does not reach it.
    monkeypatch.setattr(os, "kill", lambda pid, number: None if number == signal.SIGCONT else real(pid, number))
    os.kill(supervisor.pid, signal.SIGSTOP)
    report = bring_down(mesh.home, mesh.postgres, timeout_seconds=0.3)
    assert report.supervisor_killed
    assert supervisor.wait(timeout=60) == -signal.SIGKILL
    mesh.wait_until(lambda: mesh.gone(worker))


def test_down_spares_a_stranger_with_a_recorded_number(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    worker = mesh.pid_of("worker")
    supervisor.kill()
    supervisor.wait()
    mesh.wait_until(lambda: mesh.gone(worker))
    stranger = subprocess.Popen(mesh.SLEEPER)
    try:
        state = json.loads(mesh.home.state_file.read_text())
        recorded = state["services"][0]["process"]
        assert recorded["pid"] == worker
        recorded["pid"] = stranger.pid
        recorded["started"] -= 60
        mesh.home.state_file.write_text(json.dumps(state))
        report = bring_down(mesh.home, mesh.postgres)
        assert report.nothing_ran
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


_STARTS = """
import sys, time
from supervisor.home import MeshHome
from supervisor.starting import starting
with starting(MeshHome.at(sys.argv[1])):
    print("begun", flush=True)
    time.sleep(600)
"""


def test_down_ends_a_start_that_does_not_hold_the_folder_yet(mesh: Mesh) -> None:
    begun = subprocess.Popen(
        [sys.executable, "-c", _STARTS, str(mesh.home.root)], stdout=subprocess.PIPE, env=python_environment(os.environ)
    )
    assert begun.stdout is not None and begun.stdout.readline() == b"begun\n"
    report = bring_down(mesh.home, mesh.postgres)
    assert (report.starts_ended, report.nothing_ran) == ((begun.pid,), False)
    assert begun.wait(timeout=60) == -signal.SIGTERM
    assert bring_down(mesh.home, mesh.postgres).nothing_ran


def test_a_start_that_is_refused_leaves_no_folder(mesh: Mesh) -> None:
    mesh.home.root.rmdir()
    with pytest.raises(LookupError), starting(mesh.home):
        assert list(mesh.home.run.iterdir())
        raise LookupError
    assert not mesh.home.root.exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"run_id": "other"}'])
def test_a_state_that_somebody_damaged_is_written_anew(mesh: Mesh, damage: str) -> None:
    mesh.up_and_ready([{"name": "worker", "argv": mesh.SLEEPER}])
    mesh.home.state_file.write_text(damage)
    assert observe_state(mesh.home.state_file) is None
    mesh.wait_until(lambda: observe_state(mesh.home.state_file) is not None)


def test_down_where_nothing_ever_ran_makes_nothing(mesh: Mesh) -> None:
    mesh.home.root.rmdir()
    assert bring_down(mesh.home, mesh.postgres).nothing_ran
    assert not mesh.home.root.exists()


def test_detached_it_leads_its_own_session_and_outlives_the_caller(mesh: Mesh) -> None:
    heard: list[str] = []
    plan: list[dict[str, object]] = [{"name": "worker", "argv": mesh.SLEEPER}]
    detached = start_detached(mesh.home, mesh.command(plan), mesh.environment(), heard.append)
    assert detached.summary == "all ready"
    assert "ready worker" in heard
    assert os.getsid(detached.pid) == detached.pid
    assert "all ready" in mesh.home.log_file("supervisor").read_text()
    report = bring_down(mesh.home, mesh.postgres)
    assert report.supervisor_pid == detached.pid


def test_detached_a_failed_start_reaches_the_caller(mesh: Mesh) -> None:
    plan: list[dict[str, object]] = [
        {
            "name": "worker",
            "argv": [sys.executable, "-c", "raise SystemExit('bad setting')"],
            "run_once": True,
        }
    ]
    with pytest.raises(StartFailed, match="bad setting"):
        start_detached(mesh.home, mesh.command(plan), mesh.environment(), lambda _: None)
    with pytest.raises(StartFailed, match="out of order"):
        command = [sys.executable, "-c", "raise SystemExit('out of order')"]
        start_detached(mesh.home, command, mesh.environment(), lambda _: None)
