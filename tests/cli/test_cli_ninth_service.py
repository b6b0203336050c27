"""A further service is its folder, its contract and one entry of one list: everything that knows all services knows it then."""

import json
import os
import subprocess
import sys
from pathlib import Path

from supervisor.python_process import ROOT, python_environment

# The entry is written into the list before anything else is imported.
PROGRAM = """
import importlib.util, json, sys
from pathlib import Path
import tradekit

spec = importlib.util.find_spec("tradekit.services")
text = Path(spec.origin).read_text()
entry = 'ECHO = ServiceName("echo", 8028, frozenset(), starts_after=(MARKET,), stop_order=1)'
listed = text.replace("_PIPELINE = (MARKET,", entry + chr(10) + "_PIPELINE = (ECHO, MARKET,")
assert listed != text
services = importlib.util.module_from_spec(spec)
tradekit.services = sys.modules["tradekit.services"] = services
exec(compile(listed, spec.origin, "exec"), services.__dict__)
ECHO = services.ECHO

from cli.stack import starts_after
from cli.up.options import UpRequest, resolve
from cli.instance_plan import plan_of, port_uses
from supervisor.home import MeshHome
from supervisor.keys import key_files
from svc_monitor.health import overview
from svc_monitor.settings import MonitorSettings
from svc_monitor.watcher import OTHERS
from tools.istio_base import rendered

home = MeshHome.at(Path(sys.argv[1]))
plan = plan_of(home, resolve(UpRequest(), None, {"ECHO_PORT": "9028"}), key_files(home.keys), {})
environment = plan.environment_of(ECHO)
settings = MonitorSettings(echo_address="echo:1")
files = rendered()
print(json.dumps({
    "ports": [[use.variable, use.port] for use in port_uses(plan)],
    "starts_after": starts_after(plan, ECHO),
    "environment": environment,
    "monitor": plan.environment_of(services.MONITOR)["ECHO_ADDRESS"],
    "watched": [one.full_name for one in OTHERS],
    "shown": [one.service.name for one in overview({}, {one.name: "" for one in services.SERVICES})],
    "dialled": settings.address(ECHO),
    "manifest": files["echo.yaml"],
    "listed": files["kustomization.yaml"],
    "addresses": files["addresses.yaml"],
}))
"""


def test_an_entry_of_the_list_is_a_process_a_port_a_watched_service_and_a_workload(tmp_path: Path) -> None:
    environment = python_environment({name: value for name, value in os.environ.items() if not name.startswith("DB_")})
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert ["ECHO_PORT", 9028] in found["ports"]
    assert found["monitor"] == "127.0.0.1:9028"
    # It starts after what it waits for, and is given nothing that it does not need.
    assert found["starts_after"] == ["exchange_sim", "market"]
    assert found["environment"]["ECHO_PORT"] == "9028"
    assert "MESH_TOKEN_FILE" in found["environment"]
    kept_from_it = ("DB_", "EXCHANGE_", "MODEL_", "TICKET_", "HALT_FILE", "MONITOR_PAGE_PORT")
    assert [name for name in found["environment"] if name.startswith(kept_from_it)] == []
    assert "trading.echo.v1.EchoService" in found["watched"]
    assert "echo" in found["shown"]
    assert found["dialled"] == "echo:1"
    assert "args: [echo]" in found["manifest"]
    assert "DB_PASSWORD" not in found["manifest"]
    assert "  - echo.yaml\n" in found["listed"]
    assert "  ECHO_ADDRESS: echo:8028\n" in found["addresses"]
