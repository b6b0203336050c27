"""More than one process of a service on this machine: the further ones have a port of their own, and everything else alike."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from cli.calls import operator_channel
from cli.plan import LOOPBACK, MeshPlan
from cli.stack import service_unit
from supervisor.home import MeshHome
from supervisor.processes import InstanceMark
from supervisor.restart_policy import RestartPolicy
from supervisor.supervisor import Supervisor
from supervisor.unit import ProcessSpec, ProcessUnit
from tests.support.live_mesh import SERVING, check, supervised
from tradekit.services import ORCHESTRATOR, RISK, SERVICES, SIGNAL, VALIDATOR, ServiceName
from tradekit.states import RecommendationState

# One that dies stays dead: its test looks at what became of it.
_NOT_AGAIN = RestartPolicy(first_pause_seconds=3600.0, longest_pause_seconds=3600.0)
_START_SECONDS = 240.0


@dataclass(frozen=True)
class SharedPlan(MeshPlan):
    """The mesh's own processes of a scaled one: its signal process decides one share, and its orchestrator calls the second
    validator and the second risk service, so that both of each have work."""

    ports_of_second: Mapping[str, int] = field(default_factory=dict)

    def environment_of(self, service: ServiceName) -> dict[str, str]:
        """With its share, or with whom it calls."""
        found = super().environment_of(service)
        if service is SIGNAL:
            found |= {"SIGNAL_SHARDS": "2", "SIGNAL_SHARD": "0"}
        if service is ORCHESTRATOR:
            found |= {one.address_variable: f"{LOOPBACK}:{self.ports_of_second[one.name]}" for one in (VALIDATOR, RISK)}
        return found

    def of_second(self) -> list[tuple[ServiceName, Mapping[str, str]]]:
        """The further processes, and what is different about them: the second orchestrator calls the first of each."""
        firsts = {one.address_variable: self.ports.address(one) for one in (VALIDATOR, RISK)}
        different: dict[str, Mapping[str, str]] = {SIGNAL.name: {"SIGNAL_SHARD": "1"}, ORCHESTRATOR.name: firsts}
        return [(one, different.get(one.name, {})) for one in SERVICES if one.name in self.ports_of_second]


def shared(plan: MeshPlan, ports_of_second: Mapping[str, int]) -> SharedPlan:
    """The same instance as the first half of a scaled one."""
    given = {one.name: getattr(plan, one.name) for one in fields(plan)}
    return SharedPlan(**given, ports_of_second=ports_of_second)


def second_name(service: ServiceName) -> str:
    """What the log of its second process is called."""
    return f"{service.name}-2"


def spec_of(
    plan: MeshPlan, service: ServiceName, name: str, port: int, different: Mapping[str, str] | None = None
) -> ProcessSpec:
    """A further process of a service of this mesh."""
    own = replace(plan, ports=replace(plan.ports, of_service={**plan.ports.of_service, service.name: port}))
    spec = service_unit(own, service, InstanceMark(str(plan.home.root), name), ()).spec
    return ProcessSpec(
        name=name, argv=spec.argv, env={**spec.env, **(different or {})}, cwd=spec.cwd, stop_grace_seconds=20.0
    )


@contextmanager
def running(folder: Path, specs: Sequence[ProcessSpec]) -> Iterator[MeshHome]:
    """Starts them, and ends them with the block; what they need to be ready, the caller looks at. Gives where their logs are."""
    home = MeshHome.at(folder)
    home.prepare()
    mark = InstanceMark(str(home.root), folder.name)
    units = [ProcessUnit(spec, home.log_file(spec.name), mark) for spec in specs]
    supervisor = Supervisor(
        home, folder.name, units, labels={"mode": "test"}, on_event=lambda event: None, policy=_NOT_AGAIN
    )
    with supervised(supervisor):
        yield home


async def until_serving(plan: MeshPlan, service: ServiceName, port: int) -> None:
    """Until a process of it says that it is well, and takes entries."""
    async with operator_channel(plan.home, f"{LOOPBACK}:{port}") as channel, asyncio.timeout(_START_SECONDS):
        while await check(channel, f"{service.full_name}/entries") != SERVING:
            await asyncio.sleep(0.2)


def ended_by(log: str) -> set[str]:
    """The recommendations that an orchestrator says it has ended as executed."""
    # The last line may be being written.
    entries = (json.loads(line) for line in log.splitlines() if '"recommendation"' in line and line.endswith("}"))
    return {
        entry["recommendation_id"]
        for entry in entries
        if entry.get("event") == "recommendation" and entry.get("to_state") == RecommendationState.EXECUTED.value
    }
