"""One whole life of `mesh up`: from an empty folder to executed trades, halted, killed, brought down and resumed."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import psutil
import pytest

from meshkit.certificates import read_pair
from supervisor.home import MeshHome
from supervisor.ports import free_ports
from supervisor.postmaster import find_postmaster
from supervisor.processes import marked_processes
from supervisor.python_process import PYTHONPATH
from tradekit import ids
from tradekit.services import SERVICES
from trading.bridge.v1 import bridge_service_pb2 as bridge_pb
from trading.bridge.v1 import bridge_service_pb2_grpc as bridge_grpc
from trading.common.v1 import trade_pb2
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_grpc

ROOT = Path(__file__).resolve().parents[2]


class Presenting(grpc.UnaryUnaryClientInterceptor):
    """Adds the token to every call."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=[("authorization", f"Bearer {self._token}")]), request)


class Instance:
    """A mesh in a folder and ports of its own, driven by its commands alone."""

    def __init__(self, folder: Path) -> None:
        self.home = MeshHome.at(folder)
        numbers = free_ports(len(SERVICES) + 2)
        self.ports = {service.name: number for service, number in zip(SERVICES, numbers, strict=False)}
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MESH_HOME": str(folder),
            "PYTHONPATH": PYTHONPATH,
            "COLUMNS": "200",
            "MARKET_HISTORY_BARS": "6000",
            "SIM_PORT": str(numbers[-2]),
            "MONITOR_PAGE_PORT": str(numbers[-1]),
            **{service.port_variable: str(self.ports[service.name]) for service in SERVICES},
        }

    def mesh(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=900)
        return done.returncode, done.stdout if "--json" in arguments else re.sub(r"\s+", " ", done.stdout + done.stderr)

    def status(self) -> dict[str, Any]:
        return json.loads(self.mesh("status", "--json")[1])

    def channel(self, service: str) -> Any:
        """A plain client that shows the operator's token or certificate, as the README does."""
        identity, address = Path(self.environment["MESH_HOME"]) / "identity", f"127.0.0.1:{self.ports[service]}"
        if (identity / "operator.pem").exists():
            pair = read_pair(identity / "operator.pem", identity / "ca.pem")
            credentials = grpc.ssl_channel_credentials(pair.authorities, pair.key, pair.chain)
            return grpc.secure_channel(address, credentials)
        token = (identity / "operator.token").read_text().strip()
        return grpc.intercept_channel(grpc.insecure_channel(address), Presenting(token))

    def executor(self, ask: Callable[[Any], Any]) -> Any:
        with self.channel("executor") as channel:
            return ask(executor_grpc.ExecutorServiceStub(channel))

    def filled(self) -> list[executor_pb.Order]:
        request = executor_pb.ListOrdersRequest(state=executor_pb.ORDER_STATE_FILLED)
        return list(self.executor(lambda stub: stub.ListOrders(request, timeout=30)).orders)

    def has_traded(self) -> bool:
        """Whether an order was filled. An operator's recommendation helps: what a model of two products says is left to it."""
        return self._helped(lambda: bool(self.filled()))

    def holds_something(self) -> bool:
        """Whether a position is open now: a SELL of the model's may have come since the first fill."""
        return self._helped(lambda: any(float(size) for size, _ in self.holdings()[0].values()))

    def _helped(self, true: Callable[[], bool]) -> bool:
        if not true():
            with self.channel("bridge") as channel:
                stub = bridge_grpc.BridgeServiceStub(channel)
                for product in ("BTC-USD", "ETH-USD"):
                    recommendation = bridge_pb.CreateRecommendationRequest(
                        request_id=str(ids.new_request_id()), product_id=product, side=trade_pb2.SIDE_BUY, note="a test"
                    )
                    stub.CreateRecommendation(recommendation, timeout=30)
            time.sleep(2)
        return true()

    def holdings(self) -> tuple[Any, Any]:
        found = self.executor(lambda stub: stub.ListPositions(executor_pb.ListPositionsRequest(), timeout=30))
        positions = {one.product_id: (one.base_size.value, one.realized_pnl.value) for one in found.positions}
        return positions, {one.currency: one.amount.value for one in found.cash}


def wait_until(true: Callable[[], object], seconds: float = 300.0) -> None:
    """Waits for an outcome; the limit only bounds a failing run."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.2)


@pytest.fixture
def instance() -> Iterator[Instance]:
    folder = Path(tempfile.mkdtemp(prefix="mesh-up-"))
    folder.chmod(0o711)
    made = Instance(folder)
    try:
        yield made
    finally:
        made.mesh("down")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(3000)  # a minute or so on a machine of its own
def test_a_whole_life(instance: Instance) -> None:
    code, said = instance.mesh("up", "--detach", "--products", "BTC-USD,ETH-USD", "--speed", "1200")
    assert code == 0, said
    assert "everything is SIMULATED" in said and "EXERCISE" in said and "page" in said
    trades_explained(instance)
    each_service_acts_as_its_role(instance)
    a_second_up_is_refused(instance)
    halted = a_halt_stops_everything(instance)
    nothing_survives_kill_and_down(instance)
    code, said = instance.mesh("up", "--detach", "--mtls")
    assert code == 0 and "kept" in said and "HALTED" in said, said
    only_certificates_open_a_door(instance)
    assert instance.holdings() == halted, "a second start resumes the ledger"
    assert instance.status()["trading"]["state"] == "HALTED", "a halt outlives a restart"
    code, said = instance.mesh("resume", "--reducing")
    assert code == 0 and "trading is REDUCING (was HALTED)" in said, said
    assert instance.mesh("resume")[0] == 0
    a_halt_and_the_way_out_need_no_other_service(instance)
    a_hung_service_is_said(instance)
    assert instance.mesh("doctor")[0] == 0
    assert instance.mesh("reset", "--yes")[0] == 0
    assert not list(instance.home.root.glob("[!.]*")) and not marked_processes(str(instance.home.root))


def trades_explained(instance: Instance) -> None:
    wait_until(instance.has_traded, 600)
    found: dict[str, Any] = {}

    def well() -> bool:
        # Health is polled: what closed for a moment under load opens again.
        found.update(instance.status())
        return found["entries_open"] and found["healthy"]

    wait_until(well, 60)
    assert found["running"], found
    assert found["pipeline"]["executed"] >= 1 and found["pipeline"]["unknown_orders"] == 0
    order = next(one for one in instance.filled() if one.side == trade_pb2.SIDE_BUY)
    for id in (order.order_id, order.recommendation_id):
        code, said = instance.mesh("explain", id)
        assert code == 0 and "EXECUTED" in said and "SIMULATED order FILLED" in said
    code, said = instance.mesh("cancel", order.recommendation_id)
    assert code == 1 and "had ended before: EXECUTED" in said, said


def each_service_acts_as_its_role(instance: Instance) -> None:
    """As PostgreSQL names who entered each session."""

    async def entered() -> dict[str, set[str]]:
        connection = await asyncpg.connect(host=str(instance.home.postgres), user="postgres", database="trading")
        try:
            rows = await connection.fetch(
                "SELECT application_name, usename FROM pg_stat_activity WHERE client_port = -1"
            )
        finally:
            await connection.close()
        found: dict[str, set[str]] = {}
        for name, user in rows:
            found.setdefault(name, set()).add(user)
        return found

    found = asyncio.run(entered())
    assert {one.name: found[one.name] for one in SERVICES} == {one.name: {one.database_role} for one in SERVICES}
    said = instance.mesh("doctor")[1]
    assert "ok database roles one for each service" in said, said
    for name in ("postgres", *(one.name for one in SERVICES)):
        assert "permission denied" not in instance.home.log_file(name).read_text(), name


def a_second_up_is_refused(instance: Instance) -> None:
    code, said = instance.mesh("up")
    pid = instance.status()["supervisor_pid"]
    assert code == 3 and f"already up: pid {pid}" in said and instance.environment["MONITOR_PAGE_PORT"] in said


def a_halt_stops_everything(instance: Instance) -> tuple[Any, Any]:
    """Nothing is traded while the market goes on; returns what is held. What rests at the exchange has to be cancelled for that:
    a halt alone leaves its stop to a position."""
    code, said = instance.mesh("halt", "--cancel", "--note", "lunch")
    assert code == 0 and "HALTED" in said
    before = instance.status()
    assert not before["entries_open"] and before["trading"]["note"] == "lunch"
    wait_until(lambda: not instance.status()["pipeline"]["open_orders"])
    held, orders = instance.holdings(), len(instance.filled())
    wait_until(lambda: instance.status()["pipeline"]["market_time"] > before["pipeline"]["market_time"])
    assert instance.holdings() == held and len(instance.filled()) == orders
    return held


def only_certificates_open_a_door(instance: Instance) -> None:
    """The operator's token opened them before this start."""
    token = (instance.home.root / "identity" / "operator.token").read_text().strip()
    plain = grpc.intercept_channel(grpc.insecure_channel(f"127.0.0.1:{instance.ports['executor']}"), Presenting(token))
    with plain as channel, pytest.raises(grpc.RpcError) as refused:
        executor_grpc.ExecutorServiceStub(channel).ListPositions(executor_pb.ListPositionsRequest(), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    with instance.channel("risk") as channel:
        bridge = bridge_grpc.BridgeServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            bridge.CreateRecommendation(bridge_pb.CreateRecommendationRequest(), timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED, "it was let in, at another service"


def a_halt_and_the_way_out_need_no_other_service(instance: Instance) -> None:
    """Everything but the executor and its database stands still, as a machine that swaps leaves it."""
    for _ in range(10):
        wait_until(instance.holds_something, 600)
        if sold_with_everything_else_still(instance):
            break
        # What was held a moment ago was sold by a signal or by its bracket before anybody could stand still.
        wait_until(lambda: instance.mesh("resume")[0] == 0)
    else:
        raise AssertionError("there was never anything to sell")
    assert not any(float(size) for size, _ in instance.holdings()[0].values())
    wait_until(lambda: instance.mesh("resume")[0] == 0)


def sold_with_everything_else_still(instance: Instance) -> bool:
    """Whether there was something to sell."""
    units = {one["name"]: one for one in instance.status()["units"]}
    names = ("risk", "orchestrator", "signal", "bridge", "validator", "monitor")
    still = [psutil.Process(units[name]["process"]["pid"]) for name in names]
    for process in still:
        process.suspend()
    try:
        code, said = instance.mesh("halt", "--reducing", "--note", "alone")
        assert code == 0 and "trading is REDUCING" in said, said
        code, said = instance.mesh("close", "--all")
        if code == 0 and said.strip() == "nothing is held":
            return False
        assert code == 0 and "remaining 0" in said, said
        code, said = instance.mesh("halt", "--flatten")
        assert code == 0 and "trading is HALTED" in said and "nothing is held" in said, said
        return True
    finally:
        for process in still:
            with suppress(psutil.NoSuchProcess):  # it took so long that the supervisor started it anew
                process.resume()


def a_hung_service_is_said(instance: Instance) -> None:
    wait_until(lambda: instance.mesh("status")[0] == 0)
    validator = psutil.Process({one["name"]: one for one in instance.status()["units"]}["validator"]["process"]["pid"])
    validator.suspend()
    try:
        wait_until(lambda: instance.status()["hung"] == ["validator"])
        code, said = instance.mesh("status")
    finally:
        validator.resume()
    assert code == 1 and "HUNG validator" in said and "does not answer since" in said
    wait_until(lambda: instance.mesh("status")[0] == 0)


def nothing_survives_kill_and_down(instance: Instance) -> None:
    home = instance.home
    os.kill(instance.status()["supervisor_pid"], signal.SIGKILL)
    wait_until(lambda: not [one for one in marked_processes(str(home.root)) if one.status() != psutil.STATUS_ZOMBIE])
    assert instance.mesh("status")[0] == 3
    code, said = instance.mesh("down")
    assert code == 0 and "database stopped" in said
    assert find_postmaster(home.postgres) is None
