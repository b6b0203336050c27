"""What runs and does not answer: said, killed and started again after a generous bound; a database is left to the operator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest

from supervisor import embedded_postgres
from supervisor.embedded_postgres import KILLED, EmbeddedPostgres, PostgresHung, PostgresSettings
from supervisor.instance import bring_down
from supervisor.liveness import LivenessPolicy, Silence, Verdict, after_question
from supervisor.ports import free_ports
from supervisor.postmaster import find_postmaster, server_processes
from supervisor.restart_request import ask_restart
from supervisor.state import Status

if TYPE_CHECKING:
    from tests.supervise.conftest import Mesh

# Alive, and ready for nothing: that is no reason to kill it.
GRPC_SERVICE = """
import asyncio, sys, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
class Health(health_pb2_grpc.HealthServicer):
    async def Check(self, request, context):
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
async def main():
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    print("serves", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""
HTTP_SERVICE = """
import sys
from aiohttp import web
async def refuse(request):
    return web.Response(status=503, text="later")
app = web.Application()
app.router.add_get("/time", refuse)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=lambda *_: print("serves", flush=True))
"""
DEBUGGER = """
import ctypes, os, sys, time
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
attach = 16
pids = [int(pid) for pid in sys.argv[1:]]
held = all(ptrace(attach, pid, None, None) == 0 and os.waitpid(pid, 0x40000000) for pid in pids)
print("held" if held else "refused", flush=True)
while True:
    try:
        while os.waitpid(-1, os.WNOHANG | 0x40000000)[0]:  # the dead go only when their debugger has seen it
            pass
    except ChildProcessError:
        pass
    time.sleep(0.05)
"""
QUICK = {"name": "liveness", "pause_seconds": 0.2, "deadline_seconds": 1.0, "retry_pause_seconds": 0.1}
NEVER = {**QUICK, "silence_to_kill_seconds": 3600.0}
SOON = {**QUICK, "failures_to_kill": 3, "silence_to_kill_seconds": 3.0}


def service(kind: str, name: str = "worker") -> dict[str, object]:
    port = free_ports(1)[0]
    program = GRPC_SERVICE if kind == "grpc" else HTTP_SERVICE
    where = f"127.0.0.1:{port}" if kind == "grpc" else f"http://127.0.0.1:{port}/time"
    return {"name": name, "argv": [sys.executable, "-c", program, str(port)], kind: where}


def stop_server(mesh: Mesh) -> list[psutil.Process]:
    processes = server_processes(mesh.home.postgres)
    for process in processes:
        process.suspend()
    return processes


# --- the rule -----------------------------------------------------------------------------------------------------


def told(policy: LivenessPolicy, *questions: tuple[float, bool, bool]) -> list[Verdict]:
    """What is said after each question: when, whether it was answered, whether the asker was late."""
    silence, said = Silence(0.0), []
    for now, answered, late in questions:
        silence, verdict = after_question(policy, silence, now, answered=answered, late=late)
        said.append(verdict)
    return said


def test_it_hangs_after_two_questions_and_is_killed_after_a_minute_of_them() -> None:
    policy = LivenessPolicy()
    said = told(policy, *((6.0 * n, False, False) for n in range(1, 11)))
    assert said == [Verdict.DOUBTFUL, *[Verdict.HUNG] * 8, Verdict.KILL]
    few = told(policy, (1.0, True, False), (100.0, False, False), (200.0, False, False), (300.0, False, False))
    assert Verdict.KILL not in few, "a long time with few questions in it proves nothing"
    assert told(policy, *((6.0 * n, n == 9, False) for n in range(1, 18)))[-1] is Verdict.HUNG


def test_a_question_that_was_asked_late_begins_the_count_anew() -> None:
    said = told(LivenessPolicy(), *((6.0 * n, False, n == 9) for n in range(1, 19)))
    assert Verdict.KILL not in said
    assert said[8] is Verdict.DOUBTFUL and said[9] is Verdict.DOUBTFUL and said[10] is Verdict.HUNG


# --- processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_a_hung_service_is_said_to_hang_until_it_answers_again(mesh: Mesh, kind: str) -> None:
    mesh.up_and_ready([NEVER, service(kind)])
    mesh.wait_until(lambda: "serves" in mesh.log_of("worker"))
    time.sleep(2.0)  # it has been asked by then, and answers that it is not ready
    before = mesh.service("worker")
    assert before.status is Status.READY and before.process is not None
    os.kill(before.process.pid, signal.SIGSTOP)
    mesh.wait_until(lambda: mesh.service("worker").status is Status.HUNG)
    hung = mesh.service("worker")
    assert hung.detail.startswith("does not answer since ") and hung.since > before.since
    os.kill(before.process.pid, signal.SIGCONT)
    mesh.wait_until(lambda: mesh.service("worker").status is Status.READY)
    assert mesh.service("worker") == before
    mesh.wait_until(lambda: "answers_again worker" in mesh.text())
    assert "hung worker does not answer since " in mesh.text()


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_what_hangs_for_too_long_is_killed_and_started_again(mesh: Mesh, kind: str) -> None:
    mesh.up_and_ready([SOON, service(kind), {"name": "steady", "argv": mesh.SLEEPER}])
    mesh.wait_until(lambda: "serves" in mesh.log_of("worker"))
    time.sleep(2.0)
    first, steady = mesh.pid_of("worker"), mesh.pid_of("steady")
    os.kill(first, signal.SIGSTOP)
    mesh.wait_until(lambda: mesh.ready_pid("worker") not in (None, first))
    assert mesh.gone(first)
    again = mesh.service("worker")
    assert again.restarts >= 1
    assert again.last_exit.startswith("no answer for ") and again.last_exit.endswith("so it was killed")
    assert "died worker no answer for " in mesh.text()
    assert mesh.pid_of("steady") == steady


def test_a_supervisor_that_stood_still_itself_counts_anew(mesh: Mesh) -> None:
    supervisor = mesh.up_and_ready([SOON, service("grpc")])
    mesh.wait_until(lambda: "serves" in mesh.log_of("worker"))
    time.sleep(2.0)
    worker = mesh.pid_of("worker")
    os.kill(supervisor.pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(6.0)
    begun = time.monotonic()
    os.kill(supervisor.pid, signal.SIGCONT)
    mesh.wait_until(lambda: mesh.gone(worker))
    assert time.monotonic() - begun >= float(str(SOON["silence_to_kill_seconds"]))


# --- the database -------------------------------------------------------------------------------------------------


def test_a_hung_database_is_reported_and_left_and_down_ends_it_in_order(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    supervisor = mesh.up_and_ready([SOON, {"name": "postgres", "postgres": True}])
    server = mesh.pid_of("postgres")
    time.sleep(2.0)
    stop_server(mesh)
    mesh.wait_until(lambda: mesh.service("postgres").status is Status.HUNG)
    time.sleep(6.0)  # twice the bound after which a service is killed
    assert not mesh.gone(server) and mesh.service("postgres").status is Status.HUNG
    report = bring_down(mesh.home, mesh.postgres)
    assert supervisor.wait(timeout=60) == 0 and not report.supervisor_killed
    assert report.notes == () and not server_processes(mesh.home.postgres)
    assert "database system is shut down" in mesh.log_of("postgres")


def test_a_hung_database_is_started_anew_on_request(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    mesh.up_and_ready([SOON, {"name": "postgres", "postgres": True}])
    server = mesh.pid_of("postgres")
    stop_server(mesh)
    ask_restart(mesh.home.run, "postgres")
    mesh.wait_until(lambda: mesh.ready_pid("postgres") not in (None, server))
    assert mesh.gone(server) and mesh.service("postgres").detail == ""


async def test_a_database_that_nothing_else_ends_is_killed_and_recovers(
    mesh_with_ledger: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = mesh_with_ledger
    server = EmbeddedPostgres(
        mesh.home.postgres, mesh.home.log_file("postgres"), "mesh", PostgresSettings(stop_timeout_seconds=1.0)
    )
    server.start()
    address = server.address
    query = {"host": address.host, "user": address.user, "database": address.dbname, "timeout": 60}
    connection = await asyncpg.connect(**query)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS entry")
    processes = stop_server(mesh)
    assert len(processes) > 3
    # As a process that waits for its disk, or that a debugger holds.
    monkeypatch.setattr(embedded_postgres, "resume", lambda folder: None)
    report = bring_down(mesh.home, server)
    connection.terminate()
    assert report.postgres_stopped and report.notes == (KILLED,)
    assert not server_processes(mesh.home.postgres)
    server.start()
    connection = await asyncpg.connect(**query)
    assert await connection.fetchval("SELECT entry FROM kept") == 7
    await connection.close(timeout=60)
    server.stop()
    assert not server.killed


@pytest.fixture
def holder() -> Iterator[Callable[[list[psutil.Process]], None]]:
    """Holds processes as a debugger does: they hear of nothing but SIGKILL."""
    started: list[subprocess.Popen[str]] = []

    def hold(processes: list[psutil.Process]) -> None:
        argv = [sys.executable, "-c", DEBUGGER, *(str(process.pid) for process in processes)]
        debugger = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        started.append(debugger)
        assert debugger.stdout is not None
        if debugger.stdout.readline() != "held\n":
            pytest.skip("this machine does not let a process be held")

    yield hold
    for debugger in started:
        debugger.kill()
        debugger.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="ptrace is used as Linux has it")
def test_down_says_that_the_supervisor_had_to_kill_the_database(
    mesh_with_ledger: Mesh, holder: Callable[[list[psutil.Process]], None]
) -> None:
    mesh = mesh_with_ledger
    plan: list[dict[str, object]] = [{"name": "postgres", "postgres": True, "settings": {"stop_timeout_seconds": 1.0}}]
    supervisor = mesh.up_and_ready(plan)
    holder(server_processes(mesh.home.postgres))
    report = bring_down(mesh.home, mesh.postgres)
    assert supervisor.wait(timeout=60) == 0 and not report.supervisor_killed
    assert report.notes == (KILLED,)
    assert f"stopped postgres {KILLED}" in mesh.text()
    assert find_postmaster(mesh.home.postgres) is None
    mesh.postgres.start()


def test_a_start_over_a_hung_database_says_so_and_ends_with_the_remedy(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    server = mesh.postgres.start().pid
    stop_server(mesh)
    plan: list[dict[str, object]] = [
        {"name": "postgres", "postgres": True, "settings": {"answer_timeout_seconds": 5.0}},
        {"name": "worker", "argv": mesh.SLEEPER, "depends_on": ["postgres"]},
    ]
    up = mesh.up(plan)
    mesh.wait_until(lambda: "does not answer" in mesh.text())
    assert "does not answer" in mesh.service("postgres").detail
    assert (mesh.service("worker").status, mesh.service("worker").detail) == (Status.WAITING, "for postgres")
    assert up.wait(timeout=120) == 1
    assert f"(pid {server}), which an earlier run left, has not answered for 5 s (`mesh down` ends it" in mesh.text()
    assert not mesh.gone(server), "to kill it is not for a start to decide"
    assert bring_down(mesh.home, mesh.postgres).postgres_stopped
    assert mesh.gone(server)


def test_a_start_that_waits_for_a_hung_database_can_be_called_off(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    server = mesh.postgres.start().pid
    stop_server(mesh)
    supervisor = mesh.up(
        [{"name": "postgres", "postgres": True, "settings": {"answer_timeout_seconds": 3600.0}}],
    )
    mesh.wait_until(lambda: "does not answer" in mesh.text())
    report = bring_down(mesh.home, mesh.postgres)
    assert not report.supervisor_killed and supervisor.wait(timeout=60) == 0
    assert mesh.gone(server)


def test_children_that_outlived_their_server_are_ended(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    mesh.postgres.start()
    processes = stop_server(mesh)
    postmaster = find_postmaster(mesh.home.postgres)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    mesh.wait_until(lambda: find_postmaster(mesh.home.postgres) is None)
    # A process of the start may have been about to end by itself.
    orphans = {process.pid for process in server_processes(mesh.home.postgres)}
    assert orphans and orphans < {process.pid for process in processes}
    assert mesh.postgres.stop()
    mesh.wait_until(lambda: not server_processes(mesh.home.postgres))
    mesh.postgres.start()


def test_a_server_that_is_hung_is_told_from_one_that_is_gone(mesh_with_ledger: Mesh) -> None:
    mesh = mesh_with_ledger
    mesh.postgres.start()
    stop_server(mesh)
    quick = PostgresSettings(answer_timeout_seconds=0.1)
    second = EmbeddedPostgres(mesh.home.postgres, mesh.home.log_file("postgres"), "mesh", quick)
    with pytest.raises(PostgresHung, match="mesh down"):
        second.start()
    assert mesh.postgres.stop() and not mesh.postgres.killed
    assert not second.stop()


# --- the supervisor itself ----------------------------------------------------------------------------------------


def test_down_wakes_a_supervisor_that_was_stopped_and_it_drains(mesh: Mesh, tmp_path: Path) -> None:
    note = tmp_path / "note"
    program = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    pathlib.Path(sys.argv[1]).write_text('in order'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('set', flush=True); time.sleep(600)\n"
    )
    supervisor: subprocess.Popen[bytes] = mesh.up_and_ready(
        [{"name": "worker", "argv": [sys.executable, "-c", program, str(note)], "grace": 60.0}]
    )
    mesh.wait_until(lambda: "set" in mesh.log_of("worker"))
    os.kill(supervisor.pid, signal.SIGSTOP)
    report = bring_down(mesh.home, mesh.postgres)
    assert not report.supervisor_killed and supervisor.wait(timeout=60) == 0
    assert note.read_text() == "in order"
