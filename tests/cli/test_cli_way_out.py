"""Halting, resuming and restarting where services are silent or nothing runs: every line says what is so, in the same words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.instance_file import write_instance
from cli.status_facts import _account
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from supervisor.instance import hold_instance
from supervisor.processes import ProcessIdentity
from supervisor.restart_request import take_requests
from supervisor.state import MeshState, ServiceState, Status, write_state
from tests.cli.conftest import Mesh
from tradekit import halt_file
from tradekit.services import SERVICES
from tradekit.states import TradingState
from trading.executor.v1 import executor_service_pb2 as executor_pb
from trading.executor.v1 import executor_service_pb2_grpc as executor_rpc
from trading.risk.v1 import risk_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2_grpc as rpc

NO_ID = "11111111-1111-4111-8111-111111111111"
Started = Callable[..., MeshHome]


class Risk(rpc.RiskServiceServicer):
    """A risk engine that has a trading state, and sets what it is given, unless that would loosen what must not be."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.locks: list[tuple[str, str]] = []

    def SetTradingState(self, request: Any, context: Any) -> Any:
        wanted = TradingState(pb.TradingState.Name(request.state).removeprefix("TRADING_STATE_"))
        if not request.only_tighten or wanted.rank > TradingState(self.state).rank:
            self.state = wanted.value
        return pb.SetTradingStateResponse(state=f"TRADING_STATE_{self.state}")

    def GetPortfolioRisk(self, request: Any, context: Any) -> Any:
        answer = pb.GetPortfolioRiskResponse(trading_state=f"TRADING_STATE_{self.state}")
        for code, scope in self.locks:
            answer.locks.add(code=code, scope=scope)
        return answer


class Executor(executor_rpc.ExecutorServiceServicer):
    """An executor that answers every turn of its switch with the same."""

    def __init__(self, **answer: Any) -> None:
        self.answer = executor_pb.SetTradingStateResponse(**answer)
        self.asked: list[Any] = []

    def SetTradingState(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return self.answer


@contextmanager
def serving(service: Risk | Executor) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    if isinstance(service, Risk):
        rpc.add_RiskServiceServicer_to_server(service, server)
    else:
        executor_rpc.add_ExecutorServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """A folder as a start leaves it; nobody listens on its ports but what is given."""

    def make(**ports: int) -> MeshHome:
        home = MeshHome.at(tmp_path / "mesh")
        home.prepare()
        of_service = {service.name: 1 for service in SERVICES} | ports
        write_instance(home, replace(resolve(UpRequest(), None, {}), services=of_service))
        return home

    return make


def test_a_halt_without_an_executor_says_where_it_holds(mesh: Mesh, started: Started) -> None:
    home = started()
    with hold_instance(home):
        ran = mesh("halt", "--reducing")
    assert ran.code == 1 and "svc_executor does not answer on 127.0.0.1:1" in ran.said
    assert "the halt file says REDUCING, and the executor looks there" in ran.said
    assert "the database does not have it yet" in ran.said
    ran = mesh("halt")
    assert "nothing runs in" in ran.said and "the halt file says HALTED, and" in ran.said
    ran = mesh("halt", "--reducing", "--cancel")
    assert "the halt file says HALTED, which is stricter and stays, and" in ran.said
    assert "nothing was cancelled or sold: that needs the executor; `mesh up` starts it" in ran.said
    held = halt_file.read(home.halt_file)
    assert held is not None and held.state is TradingState.HALTED


def full(path: Path, halt: halt_file.Halt) -> halt_file.Halt:
    raise OSError(28, "No space left on device")


def test_a_halt_that_is_nowhere_says_so(mesh: Mesh, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halt_file, "write", full)
    started()
    ran = mesh("halt")
    assert ran.code == 1 and "this halt is NOT in force: neither the halt file nor the database" in ran.said
    assert "the halt file says" not in ran.said and "writes it there when it is back" not in ran.said
    with serving(Risk("ACTIVE")) as port:
        started(risk=port)
        ran = mesh("halt")
    assert ran.code == 1 and "only the database has the halt, and the executor follows it" in ran.said


IN_MEMORY = "this halt is kept NOWHERE but in the executor's memory"
IN_FILE = "the halt is kept all the same, also through restarts"


@pytest.mark.parametrize("state", ["REDUCING", "HALTED"])
@pytest.mark.parametrize(
    ("stored", "kept", "code", "words"),
    [(True, True, 0, ""), (False, True, 0, IN_FILE), (False, False, 1, IN_MEMORY)],
)
def test_the_receipt_says_what_outlives_the_executor(
    mesh: Mesh,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    stored: bool,
    kept: bool,
    code: int,
    words: str,
) -> None:
    """A stricter state that stays (HALTED, where REDUCING is asked for) is judged by the same."""
    monkeypatch.setattr(halt_file, "write", full)
    executor = Executor(state=f"TRADING_STATE_{state}", stored=stored, kept=kept)
    with serving(executor) as port:
        started(executor=port)
        ran = mesh("halt", "--reducing")
    assert ran.code == code and words in ran.said and (state == "REDUCING") == ("trading is REDUCING" in ran.said)
    assert (IN_MEMORY in ran.said) == (words == IN_MEMORY) and (IN_FILE in ran.said) == (words == IN_FILE)
    assert [one.only_tighten for one in executor.asked] == [True]
    if not kept:
        assert "gone when it ends, by a crash, mesh restart or mesh down" in ran.said
        assert "goes on trying both; make room for the halt file or bring the database back" in ran.said


def test_what_the_executor_could_write_nowhere_the_risk_engine_may(mesh: Mesh, started: Started) -> None:
    risk, executor = Risk("ACTIVE"), Executor(state="TRADING_STATE_HALTED")
    with serving(risk) as port, serving(executor) as other:
        started(risk=port, executor=other)
        ran = mesh("halt")
    assert (ran.code, risk.state) == (0, "HALTED") and IN_MEMORY not in ran.said
    assert "the risk engine has the database say HALTED" in ran.said


async def test_a_cooldown_is_not_among_the_locks(mesh: Mesh, started: Started) -> None:
    risk = Risk("ACTIVE")
    risk.locks = [("DRAWDOWN", "account"), ("COOLDOWN_ENTRY", "product:BTC-USD")]
    with serving(risk) as port:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            _, locks, cooldowns = await _account(channel)
    assert locks == ("DRAWDOWN account",) and cooldowns == ("COOLDOWN_ENTRY product:BTC-USD",)


@pytest.mark.parametrize(
    ("command", "stored", "then", "words"),
    [
        (("halt", "--reducing"), "HALTED", "HALTED", "the database says HALTED, which is stricter and stays"),
        (("halt", "--reducing"), "ACTIVE", "REDUCING", "the database has it too"),
        (("halt",), "REDUCING", "HALTED", "the database has it too"),
    ],
)
def test_a_halt_never_loosens_what_the_database_has(
    mesh: Mesh, started: Started, command: tuple[str, ...], stored: str, then: str, words: str
) -> None:
    risk = Risk(stored)
    with serving(risk) as port:
        started(risk=port)
        ran = mesh(*command)
    assert (risk.state, ran.code) == (then, 1) and words in ran.said


@pytest.mark.parametrize(
    "command",
    [
        ("resume",),
        ("close", "--all"),
        ("restart", "risk"),
        ("model", "list"),
        ("ledger", "show"),
        ("explain", NO_ID),
        ("cancel", NO_ID),
    ],
)
def test_where_nothing_runs_every_command_says_it_in_the_same_words(
    mesh: Mesh, started: Started, command: tuple[str, ...]
) -> None:
    home = started()
    ran = mesh(*command)
    assert ran.code == 3 and ran.said.strip() == f"✗ nothing runs in {home.root} → `mesh up` starts it"


@pytest.mark.parametrize(
    ("command", "service"),
    [
        (("resume",), "executor"),
        (("close", "--all"), "executor"),
        (("model", "list"), "signal"),
        (("ledger", "show"), "executor"),
    ],
)
def test_a_silent_service_is_told_in_the_same_words_by_every_command(
    mesh: Mesh, started: Started, command: tuple[str, ...], service: str
) -> None:
    with hold_instance(started()):
        ran = mesh(*command)
    assert ran.code == 3
    assert f"✗ svc_{service} does not answer on 127.0.0.1:1" in ran.said
    assert f"→ `mesh status` shows what is up, `mesh restart {service}` starts it anew" in ran.said


def test_a_unit_that_parks_again_is_told_at_once(mesh: Mesh, started: Started) -> None:
    home = started()
    parked = ServiceState("risk", Status.PARKED, "2026-01-01T00:00:00+00:00", detail="five deaths")
    state = MeshState("run", ProcessIdentity(1, 1.0), "now", {}, (parked,))

    def supervise() -> None:
        while not take_requests(home.run):
            time.sleep(0.01)
        again = replace(parked, since="2026-01-01T00:00:09+00:00", detail="five more")
        write_state(home.state_file, replace(state, services=(again,)))

    with hold_instance(home):
        write_state(home.state_file, state)
        supervisor = threading.Thread(target=supervise)
        supervisor.start()
        begun = time.monotonic()
        ran = mesh("restart", "risk")
        supervisor.join()
    assert ran.code == 1 and "risk is parked again: five more" in ran.said
    assert time.monotonic() - begun < 60


class Slow(Executor):
    """An executor whose exchange takes its time with a cancel: what a bracket protects is not free yet."""

    def SetTradingState(self, request: Any, context: Any) -> Any:
        return executor_pb.SetTradingStateResponse(
            state=request.state, previous_state="TRADING_STATE_ACTIVE", stored=True, kept=True, open_order_ids=[NO_ID]
        )

    def GetTradingState(self, request: Any, context: Any) -> Any:
        return executor_pb.GetTradingStateResponse(state="TRADING_STATE_ACTIVE", kept=True)

    def _bracket(self) -> Any:
        return executor_pb.Order(
            order_id=NO_ID,
            product_id="BTC-USD",
            state="ORDER_STATE_OPEN",
            purpose="ORDER_PURPOSE_PROTECTION",
            cancel_requested=True,
        )

    def ListOrders(self, request: Any, context: Any) -> Any:
        return executor_pb.ListOrdersResponse(orders=[self._bracket()])

    def CancelOrders(self, request: Any, context: Any) -> Any:
        outcome = executor_pb.CancelOutcome(result="CANCEL_RESULT_STILL_OPEN", order=self._bracket())
        return executor_pb.CancelOrdersResponse(outcomes=[outcome])

    def ClosePositions(self, request: Any, context: Any) -> Any:
        outcome = executor_pb.CloseOutcome(
            product_id="BTC-USD", held_size={"value": "1"}, remaining_size={"value": "1"}
        )
        outcome.reasons.add(code="NOTHING_AVAILABLE")
        outcome.reasons.add(code="CLOSE_WAITS", observed="tried again")
        return executor_pb.ClosePositionsResponse(outcomes=[outcome])


def test_a_flatten_tells_of_no_protection_that_ends_and_of_no_try_that_a_halt_ends(
    mesh: Mesh, started: Started
) -> None:
    with serving(Slow()) as port:
        started(executor=port)
        flattened = mesh("halt", "--flatten")
    told = " ".join(flattened.said.split())
    assert flattened.code == 1 and "stays there" not in told and "CLOSE_WAITS" not in told
    assert "its cancel was asked for and has not taken hold at the exchange yet" in told
    assert "BTC-USD is not tried again while trading is HALTED" in told
