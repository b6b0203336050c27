"""Who may do what at the real processes: every RPC as every identity, and another user of the machine who tries all doors."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from identities import IDENTITIES, presented
from live_mesh import LiveMesh
from other_user import NOBODY
from sweep_world import GOOD, World

from meshkit.identity import read_token
from meshkit.policy import policies
from supervisor.python_process import PYTHONPATH
from tests.contracts.contract_walk import methods
from tradekit.services import SERVICES, ServiceName

ROOT = Path(__file__).resolve().parents[2]
DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
SERVICE_OF = {service.full_name: service for service in SERVICES}
CALL_SECONDS, OPEN_SECONDS = 20.0, 0.3
pytestmark = pytest.mark.timeout(1200)


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


async def code(
    channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Any, *, allowed: bool
) -> grpc.StatusCode | None:
    """How an empty request ends; None for a watch that is silent, and is let go."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"

    async def nothing() -> Any:
        return
        yield

    call = getattr(channel, kind)(path_of(method))(
        nothing() if method.client_streaming else b"", timeout=CALL_SECONDS, metadata=metadata
    )
    try:
        if not method.server_streaming:
            await call
        elif path_of(method).split("/")[2].startswith("Watch"):
            # An open watch may have nothing to say. Where it should be refused the answer is waited for: a refusal that is
            # slow to come is not to be mistaken for an open watch.
            waiting = asyncio.ensure_future(call.code())
            done, _ = await asyncio.wait({waiting}, timeout=OPEN_SECONDS if allowed else CALL_SECONDS)
            call.cancel()
            return waiting.result() if done else None
        else:
            async for _ in call:
                pass
        return await call.code()
    except grpc.aio.AioRpcError as error:
        return error.code()


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_every_rpc_as_every_identity_is_as_the_contract_says(mesh: LiveMesh, service: ServiceName) -> None:
    table = policies(service.full_name)
    identities = mesh.plan.identities
    async with grpc.aio.insecure_channel(mesh.plan.ports.address(service)) as channel:
        for method in methods():
            if method.containing_service.full_name != service.full_name:
                continue
            assert await code(channel, method, (), allowed=False) is UNKNOWN, method.name
            for name in IDENTITIES:
                allowed = table[path_of(method)].allows(name)
                found = await code(channel, method, presented(identities, name), allowed=allowed)
                assert (found is not DENIED and found is not UNKNOWN) is allowed, f"{method.name} as {name}: {found}"
                assert allowed or found is DENIED, f"{method.name} as {name}: {found}"


def attempt(mesh: LiveMesh, path: str, body: str, *metadata: tuple[str, str]) -> dict[str, Any]:
    address = mesh.plan.ports.address(SERVICE_OF[path.split("/")[1]])
    return {"address": address, "path": path, "body": body, "metadata": [list(one) for one in metadata]}


def test_another_user_of_the_machine_finds_every_door_shut(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; run as root to see what one meets")
    mesh, plan = world.mesh, world.mesh.plan
    home = plan.home
    tokens = [plan.identities.token(name) for name in IDENTITIES]
    private = [home.identity, plan.identities.callers, *tokens, home.keys, home.run, home.logs, home.postgres]
    private += [plan.keys.ticket_private, plan.keys.exchange_api_key, home.state_file, home.log_file("executor")]
    private += [plan.simulator_folder, plan.simulator_keys]
    effects = (
        "RiskService.SetTradingState",
        "BridgeService.CreateRecommendation",
        "ExecutorService.ExecuteRecommendation",
        "MonitorService.AcknowledgeAlert",
        "ExecutorService.Reconcile",
    )
    calls, answers = [], []
    for name in effects:
        method = next(one for one in methods() if f"{one.containing_service.name}.{one.name}" == name)
        body = GOOD[name](world)[0].SerializeToString().hex()
        forged = ("authorization", "Bearer " + "A" * 43)
        for metadata in ((), (forged,), (("x-caller", "operator"),)):
            calls.append(attempt(mesh, path_of(method), body, *metadata))
            answers.append("UNAUTHENTICATED CALLER_UNKNOWN")
    page, simulator = f"http://127.0.0.1:{plan.ports.page}", f"https://{plan.simulator_host}"
    told = {
        "files": [str(path) for path in private],
        "calls": calls,
        "database": plan.database_address.arguments("mesh"),
        "http": [
            ["POST", f"{page}/api/alerts/{world.alert_id}/acknowledge", {"note": "nobody"}],
            ["POST", f"{simulator}/sim/v1/advance", {"to": "2030-01-01T00:00:00Z"}],
            ["POST", f"{simulator}/api/v3/brokerage/orders", {}],
            ["GET", f"{simulator}/api/v3/brokerage/accounts", None],
        ],
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "other_user.py")],
        input=json.dumps(told),
        env={**os.environ, "PYTHONPATH": f"{PYTHONPATH}:{ROOT / 'tests' / 'support'}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["uid"] == NOBODY
    allowed = {name: met for name, met in found["files"].items() if met != "PermissionError PermissionError"}
    assert allowed == {}
    assert found["calls"] == answers
    assert found["database"] == "PermissionError"
    assert found["http"] == [401, 401, 401, 401]


def test_no_token_is_in_a_log_an_argument_or_an_environment(world: World) -> None:
    plan = world.mesh.plan
    tokens = [read_token(plan.identities.token(name)) for name in IDENTITIES]
    # What a service was given; /proc shows of a forked one what its template was given.
    given = {"exchange_sim": plan.simulator_environment()}
    given |= {service.name: plan.environment_of(service) for service in plan.services}
    for name, pid in world.mesh.pids().items():
        seen = Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
        seen += json.dumps(given[name])
        assert "identity/" in seen or name == "exchange_sim"
        assert not [token for token in tokens if token in seen + world.mesh.log(name)], name
