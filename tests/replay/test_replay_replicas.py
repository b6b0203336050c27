"""A mesh with two processes of whatever may have several comes to the same books as one of each."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from replay_runs import Undisturbed, quiet

from cli.replay.run import Watching, replay
from supervisor.home import MeshHome
from supervisor.ports import free_ports
from tests.support.replicas import SharedPlan, ended_by, running, second_name, shared, spec_of, until_serving
from tradekit.services import ORCHESTRATOR, RISK, SIGNAL, VALIDATOR

# The others are alone: the executor because it must be, the rest because nothing is gained.
SCALED = (SIGNAL, VALIDATOR, RISK, ORCHESTRATOR)
KILLED_AT = 48


class Scaled:
    """Starts the second processes before the first bar; in the middle the first orchestrator is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.ports = dict(zip((one.name for one in SCALED), free_ports(len(SCALED)), strict=True))
        self.home: MeshHome | None = None

    async def on_bar(self, index: int, as_of: datetime, supervisor: Any, plan: Any) -> None:
        if index == 0:
            await self._start(plan)
        if index == KILLED_AT:
            processes = {one.name: one.process for one in supervisor.state.services}
            os.kill(processes[ORCHESTRATOR.name].pid, signal.SIGKILL)

    async def _start(self, plan: SharedPlan) -> None:
        specs = [
            spec_of(plan, one, second_name(one), self.ports[one.name], different) for one, different in plan.of_second()
        ]
        self.home = await asyncio.to_thread(self._stack.enter_context, running(self._folder, specs))
        for one in SCALED:
            await until_serving(plan, one, self.ports[one.name])

    def log(self, service: Any) -> str:
        assert self.home is not None
        return self.home.log_file(second_name(service)).read_text()

    def end(self) -> None:
        self._stack.close()


def decided_bars(log: str) -> dict[str, int]:
    """How many signals a signal process says it decided, by bar."""
    entries = (json.loads(line) for line in log.splitlines() if '"bar_decided"' in line)
    return {entry["as_of"]: entry["signals"] for entry in entries}


def test_two_of_each_come_to_the_same_books(
    undisturbed: Undisturbed, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    calm = undisturbed.report
    (tmp_path / "second").mkdir(mode=0o700)
    scaled = Scaled(tmp_path / "second")
    watching = Watching(quiet().progress, quiet().event, scaled.on_bar)
    options = undisturbed.options(model=undisturbed.report.folder / "model")
    try:
        report = asyncio.run(
            replay(options, undisturbed.home, watching, keep=True, arranged=lambda plan: shared(plan, scaled.ports))
        )
    finally:
        scaled.end()
    assert report.result.hash == calm.result.hash
    assert report.agreement.balances == calm.agreement.balances
    assert report.agreement.exchange_orders == report.result.orders_with_exchange_id == calm.agreement.exchange_orders
    first = MeshHome.at(report.folder)
    shares = [decided_bars(log) for log in (first.log_file(SIGNAL.name).read_text(), scaled.log(SIGNAL))]
    assert all(any(share.values()) for share in shares), "each share has products"
    assert sum(sum(share.values()) for share in shares) >= sum(calm.result.signals.values())
    ended = [ended_by(log) for log in (first.log_file(ORCHESTRATOR.name).read_text(), scaled.log(ORCHESTRATOR))]
    assert all(ended), "each orchestrator ended some, so each risk service and each validator was asked"
    assert not ended[0] & ended[1]
    record_property("replay by two of each", f"hash {report.result.hash}, ended {[len(one) for one in ended]}")
