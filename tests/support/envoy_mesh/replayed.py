"""A replay behind sidecars that stands still before its last bar, and is led to its end when the tests have seen enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import envoy_mesh.replay_child as child
from envoy_mesh.process import end
from envoy_mesh.sidecars import ROOT, Sidecars
from meshkit.policy import OPERATOR
from supervisor.python_process import PYTHONPATH
from tradekit.services import MONITOR, PAGE_PORT, SERVICES, ServiceName

STOP_SECONDS = 120.0


@dataclass
class ReplayedMesh:
    """The whole mesh, each service behind its Envoy. `app` is where a service itself listens."""

    sidecars: Sidecars
    process: subprocess.Popen[str]
    errors: Path
    _result: dict[str, Any] = field(default_factory=dict)

    def app(self, service: ServiceName) -> int:
        """The port of the service behind its sidecar."""
        return self.sidecars.plan.apps[service.name, service.port]

    def result(self) -> dict[str, Any]:
        """What the replay came to. Nothing of the mesh runs afterwards."""
        if not self._result:
            assert self.process.stdin is not None
            self.process.stdin.write("go on\n")
            self.process.stdin.flush()
            self._result = json.loads(self.line())
        return self._result

    def line(self) -> str:
        """The next line that the replay says."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if not said:
            raise RuntimeError(f"the replay ended early:\n{self.errors.read_text()[-4000:]}")
        return said


@contextmanager
def replayed_mesh(sidecars: Sidecars, folder: Path, **wanted: Any) -> Iterator[ReplayedMesh]:
    """It stands still. `wanted` are the fields of `Wanted` that say what is replayed."""
    callers = (*(service.name for service in SERVICES), OPERATOR)
    asked = child.Wanted(
        **wanted,
        home=str(folder),
        apps={service.name: sidecars.plan.apps[service.name, service.port] for service in SERVICES},
        page=sidecars.plan.apps[MONITOR.name, PAGE_PORT],
        outbound={caller: sidecars.outbound(caller) for caller in callers},
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = f"{PYTHONPATH}:{ROOT / 'tests' / 'support'}"
    errors = folder / "replay.errors"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "envoy_mesh.replay_child", asked.text()],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        mesh = ReplayedMesh(sidecars, process, errors)
        said = mesh.line()
        if said != child.PAUSED:
            raise RuntimeError(f"the replay said {said} where it should stand still")
        yield mesh
    finally:
        # Stopped in order, as by Ctrl-C, if it has not ended by itself.
        end(process, STOP_SECONDS)
