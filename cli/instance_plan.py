"""Turns the choices of an instance into its plan of processes, and says which ports they need."""

import os
from collections.abc import Mapping
from datetime import datetime

from cli.instance_file import Instance
from cli.plan import ENTERS_AS, TAKES_ON, MeshPlan, SimulatorPlan
from cli.up.venue import COINBASE
from supervisor.control_token import control_token
from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.home import MeshHome
from supervisor.keys import KeyFiles
from supervisor.ports import PortUse
from tradekit.services import SERVICES, Need, ServiceName

DATABASE_NAME = "trading"
_DB_DEFAULTS = {"DB_PORT": "5432", "DB_NAME": DATABASE_NAME, "DB_USER": "postgres"}


def embedded_postgres(home: MeshHome) -> EmbeddedPostgres:
    """The instance's own database server."""
    return EmbeddedPostgres(home.postgres, home.log_file("postgres"), DATABASE_NAME)


def database_of(home: MeshHome, instance: Instance, environment: Mapping[str, str]) -> dict[str, str]:
    """DB_* of the operator's own PostgreSQL, or of the embedded one."""
    if not instance.own_database:
        return embedded_postgres(home).address.environment()
    own = {name: value for name, value in environment.items() if name.startswith("DB_") and value}
    return {**_DB_DEFAULTS, **own}


def plan_of(
    home: MeshHome,
    instance: Instance,
    keys: KeyFiles,
    environment: Mapping[str, str] = os.environ,
    services: tuple[ServiceName, ...] = SERVICES,
) -> MeshPlan:
    """Every process of the instance and its environment."""
    return MeshPlan(
        home=home,
        venue=instance.venue,
        profile=instance.profile,
        products=instance.products,
        granularity=instance.granularity,
        run_id=instance.run_id,
        ports=instance.ports,
        keys=keys,
        database=database_of(home, instance, environment),
        control_token=control_token(home.keys, environment),
        simulator=_simulator(instance),
        portfolio=instance.portfolio,
        mtls=instance.mtls,
        role_variable=TAKES_ON if instance.own_database else ENTERS_AS,
        services=services,
        inherited=dict(environment),
        extra={"MARKET_HISTORY_BARS": str(instance.history_bars)},
    )


def _simulator(instance: Instance) -> SimulatorPlan | None:
    if not instance.simulates:
        return None
    start = datetime.fromisoformat(instance.start) if instance.start else None
    speed = 1.0 if instance.market == COINBASE else instance.speed
    return SimulatorPlan(instance.market, speed, instance.seed, start)


def port_uses(plan: MeshPlan) -> list[PortUse]:
    """Every port that the instance listens on, with the variable that moves it."""
    uses = [PortUse(one.name, plan.ports.of_service[one.name], one.port_variable) for one in plan.services]
    if plan.simulator is not None:
        uses.append(PortUse("exchange_sim", plan.ports.simulator, "SIM_PORT"))
    pages = [one for one in plan.services if Need.PAGE in one.needs]
    uses += [PortUse("page", plan.ports.page, one.page_variable) for one in pages]
    return uses
