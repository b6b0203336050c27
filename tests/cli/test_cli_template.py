"""What `mesh up` lets its services be forked from: nothing in it may belong to one of them, or be unfit to be forked."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.instance_plan import plan_of
from cli.plan import MeshPlan
from cli.stack import forked_programs, simulator_unit
from cli.up.options import UpRequest, resolve
from supervisor.forking import read_at_import
from supervisor.home import MeshHome
from supervisor.keys import ensure_keys
from supervisor.processes import InstanceMark
from supervisor.python_process import python_environment
from tradekit.services import SERVICES

# Imports as the template does; says which variables were asked for by name, and what would be shared.
_IMPORTING = """
import json, os, sys
asked = set()
found = os._Environ.__getitem__
def ask(self, name):
    asked.add(name)
    return found(self, name)
os._Environ.__getitem__ = ask
from supervisor.template import _import_program
before = set(os.listdir("/proc/self/fd"))
for program in sys.argv[1:]:
    _import_program(program)
print(json.dumps({
    "asked": sorted(asked),
    "modules": sorted(sys.modules),
    "threads": len(os.listdir("/proc/self/task")),
    "opened": sorted(set(os.listdir("/proc/self/fd")) - before),
}))
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> MeshPlan:
    home = MeshHome.at(tmp_path_factory.mktemp("home"))
    home.prepare()
    caller = {"PATH": "/usr/bin:/bin", "GRPC_TRACE": "", "SSL_CERT_DIR": "/etc/ssl/certs", "OTEL_SDK_DISABLED": "false"}
    return plan_of(home, resolve(UpRequest(), None, caller), ensure_keys(home.keys), caller)


@pytest.fixture(scope="module")
def imported(plan: MeshPlan) -> dict[str, list[str] | int]:
    if sys.platform != "linux":
        pytest.skip("elsewhere services are executed")
    command = [sys.executable, "-P", "-c", _IMPORTING, *forked_programs(plan)]
    environment = python_environment(plan.common_environment())
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    found: dict[str, list[str] | int] = json.loads(ran.stdout)
    return found


def every_environment(plan: MeshPlan) -> Sequence[dict[str, str]]:
    simulator = simulator_unit(plan, InstanceMark("home", "run")).spec.env
    return [dict(simulator), *(python_environment(plan.environment_of(service)) for service in SERVICES)]


def test_every_process_of_a_mesh_is_forked(plan: MeshPlan) -> None:
    template = python_environment(plan.common_environment())
    assert "GRPC_TRACE" in template
    for environment in every_environment(plan):
        assert read_at_import(environment) == read_at_import(template)


def test_nothing_that_differs_between_services_is_read_at_import(
    plan: MeshPlan, imported: dict[str, list[str] | int]
) -> None:
    template = python_environment(plan.common_environment())
    asked = imported["asked"]
    assert isinstance(asked, list) and "GRPC_ENABLE_FORK_SUPPORT" in asked
    for service in SERVICES:
        own = python_environment(plan.environment_of(service))
        differing = {name for name in {*own, *template} if own.get(name) != template.get(name)}
        assert "MESH_TOKEN_FILE" in differing
        assert not differing & set(asked), service.name


def test_what_is_imported_can_be_forked(imported: dict[str, list[str] | int]) -> None:
    """No thread, no open file, and nothing of the one service that is too large."""
    assert imported["threads"] == 1
    assert imported["opened"] == []
    modules = imported["modules"]
    assert isinstance(modules, list)
    assert {"svc_risk.service", "exchange_sim.run", "exchange_client.coinbase.client", "aiohttp.web"} <= set(modules)
    assert not {"numpy", "numba", "sklearn", "scipy", "pyarrow", "svc_signal"} & set(modules)


def test_a_plan_without_a_simulated_exchange_imports_none(plan: MeshPlan, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    caller = {"EXCHANGE_KEY_FILE": str(key), "LIVE_CONFIRM": "b4f0"}
    live = plan_of(plan.home, resolve(UpRequest(market="coinbase", live=True), None, caller), plan.keys, caller)
    assert "exchange_sim" not in forked_programs(live)
    assert "exchange_sim" in forked_programs(plan)
