"""What the supervisor is told of each unit: whom it asks, whom it kills, and whom it never gives up."""

import pytest

from cli.commands.status import _as_json
from cli.instance_plan import embedded_postgres, plan_of
from cli.stack import units_of
from cli.status_facts import StatusFacts, Trading
from cli.up.options import UpRequest, resolve
from supervisor.home import MeshHome
from supervisor.keys import ensure_keys
from supervisor.postgres_unit import PostgresUnit
from supervisor.processes import InstanceMark
from supervisor.state import ServiceState, Status
from supervisor.unit import UnitSpec


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, UnitSpec]:
    home = MeshHome.at(tmp_path_factory.mktemp("home"))
    home.prepare()
    caller = {"PATH": "/usr/bin:/bin"}
    plan = plan_of(home, resolve(UpRequest(), None, caller), ensure_keys(home.keys), caller)

    async def make_model() -> None:
        """Never called."""

    units = units_of(plan, InstanceMark("home", "run"), PostgresUnit(embedded_postgres(home)), make_model)
    return {unit.spec.name: unit.spec for unit in units}


def test_every_process_is_asked_whether_it_lives_and_all_but_the_database_are_killed(
    specs: dict[str, UnitSpec],
) -> None:
    processes = {name: spec for name, spec in specs.items() if not spec.run_once}
    assert len(processes) == 10 and all(spec.alive is not None for spec in processes.values())
    assert {name for name, spec in processes.items() if not spec.killed_when_hung} == {"postgres"}


def test_what_an_exit_needs_is_never_parked(specs: dict[str, UnitSpec]) -> None:
    never = {name for name, spec in specs.items() if not spec.parks}
    assert never == {"postgres", "exchange_sim", "bridge", "orchestrator", "executor"}


def test_neither_a_hung_unit_nor_a_stopped_supervisor_is_well() -> None:
    well, hung = ServiceState("risk", Status.READY), ServiceState("validator", Status.HUNG)
    trading = Trading("ACTIVE", "", True)
    assert StatusFacts("/nowhere", 1, None, (well,), trading=trading).healthy
    facts = StatusFacts("/nowhere", 1, None, (well, hung), trading=trading)
    assert not facts.healthy and _as_json(facts)["hung"] == ("validator",)
    assert not StatusFacts("/nowhere", 1, None, (well,), trading=trading, supervisor_stopped=True).healthy


def test_what_cannot_be_known_is_not_well_and_nothing_is_claimed_of_it() -> None:
    running, ended = ServiceState("executor", Status.READY), ServiceState("executor", Status.PARKED)
    silent = StatusFacts("/nowhere", 1, None, (running,))
    assert not silent.healthy and silent.executor_runs
    assert not StatusFacts("/nowhere", 1, None, (ended,)).executor_runs
    unreadable = StatusFacts("/nowhere", 1, None, (), trading=Trading("ACTIVE", "", True), units_unreadable=True)
    assert not unreadable.healthy and unreadable.executor_runs
