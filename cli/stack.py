"""The processes of one instance in the order of their dependencies: database, migrations, simulator, market, the rest."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from cli.instance_file import write_whole
from cli.plan import LOOPBACK, MTLS_AUTH, SIMULATOR, TAKES_ON, TOKEN_AUTH, MeshPlan
from cli.steps import StepFailed, StepUnit
from meshkit.health import LIVE
from meshkit.policy import OPERATOR
from supervisor.answers import GrpcAnswers, HttpAnswers
from supervisor.certificates import RENEW_BELOW, ensure_certificates, remove_certificates
from supervisor.forking import ForkLauncher, read_at_import
from supervisor.identities import ensure_identities
from supervisor.keys import UnsafeKey
from supervisor.launch import Launcher
from supervisor.probes import grpc_health, http_ok
from supervisor.processes import InstanceMark
from supervisor.python_process import ROOT, python_environment, run_module, running_module
from supervisor.unit import ProcessSpec, ProcessUnit, Unit
from tradekit import services
from tradekit.services import SERVICES, TRAINING_ROLE, Need, ServiceName

MIGRATIONS = "migrations"
DATABASE = "postgres"
MODEL = "model"
_SIMULATOR = "exchange_sim"
# What a service loads once it knows that it needs it.
_LOADED_LATER = ("exchange_client.coinbase.client",)
_MIGRATION = "cli.migration_job"
# A machine that slept finds its certificates ended; it does not wait long for new ones.
_RENEWAL_SECONDS = 300.0
# Eight interpreters that start at once on two cores take their time.
_START_SECONDS = 120.0
# It ends by itself after a minute; here it is also loaded, on a busy machine.
_MIGRATION_SECONDS = 180.0


def write_simulator_keys(plan: MeshPlan) -> None:
    """Tells the simulated exchange which API key may trade; it gets the public half."""
    key = json.loads(plan.keys.exchange_api_key.read_text())
    known = [
        {
            "name": key["name"],
            "public_key": plan.keys.exchange_public.read_text(),
            "can_view": True,
            "can_trade": True,
            "can_transfer": False,
        }
    ]
    write_whole(plan.simulator_keys, json.dumps(known, indent=1))


def make_identities(plan: MeshPlan) -> None:
    """What each service and the operator prove themselves with: a token, or a certificate."""
    names = [*(service.name for service in SERVICES), OPERATOR]
    if plan.auth == TOKEN_AUTH:
        ensure_identities(plan.identities, names)
    if plan.auth == MTLS_AUTH:
        ensure_identities(plan.identities, [OPERATOR])  # for the page, where nobody shows a certificate
        ensure_certificates(plan.certificates, names, plan.spiffe_names, datetime.now(UTC))
    else:
        remove_certificates(plan.certificates, names)


async def renew_certificates(plan: MeshPlan, say: Callable[[str], None]) -> None:
    """Keeps them valid for as long as the instance runs; ends at once where it uses none."""
    while plan.auth == MTLS_AUTH:
        await asyncio.sleep(_RENEWAL_SECONDS)
        try:
            await asyncio.to_thread(make_identities, plan)
        except (UnsafeKey, OSError) as error:
            say(f"the certificates cannot be renewed, and end within {RENEW_BELOW}: {error}")


def migration_step(plan: MeshPlan, needs: tuple[str, ...]) -> StepUnit:
    """Brings the database to the newest schema, with a role for each service."""
    roles = (*(one.database_role for one in plan.services), TRAINING_ROLE)
    taken_on = roles if plan.role_variable == TAKES_ON else ()

    async def work() -> None:
        environment = {**plan.common_environment(), **plan.database}
        try:
            async with (
                running_module((_MIGRATION, *taken_on), environment) as process,
                asyncio.timeout(_MIGRATION_SECONDS),
            ):
                _, reason = await process.communicate()
        except TimeoutError:
            raise StepFailed(f"the migration took longer than {_MIGRATION_SECONDS:g} s") from None
        if process.returncode != 0:
            raise StepFailed(reason.decode(errors="replace").strip() or f"exit code {process.returncode}")

    return StepUnit(MIGRATIONS, needs, work, stop_order=8)


def forked_programs(plan: MeshPlan) -> tuple[str, ...]:
    """What a template imports: the plan's programs, and what they load once they know that they need it.

    Without the signal service's: its libraries would make the template three times as large and start threads.
    """
    of_services = (service.package for service in plan.services if Need.MODEL not in service.needs)
    simulator = (_SIMULATOR,) if plan.simulator is not None else ()
    return (*of_services, *simulator, *_LOADED_LATER)


def template_of(plan: MeshPlan, mark: InstanceMark) -> ForkLauncher:
    """Starts the plan's Python processes as forks of one that has imported what they import."""
    environment = python_environment(plan.common_environment())
    return ForkLauncher(forked_programs(plan), environment, plan.home.log_file("template"), mark)


def simulator_unit(plan: MeshPlan, mark: InstanceMark, launcher: Launcher | None = None) -> ProcessUnit:
    """The simulated exchange."""
    url = f"https://{plan.simulator_host}/api/v3/brokerage/time"
    spec = ProcessSpec(
        name=SIMULATOR,
        argv=run_module(_SIMULATOR),
        # Forks of one template agree on what is read at import, whether they use what reads it or not.
        env=python_environment({**read_at_import(plan.common_environment()), **plan.simulator_environment()}),
        cwd=ROOT,
        ready=http_ok(url, plan.simulator_ca),
        alive=HttpAnswers(url, plan.simulator_ca),
        # It writes a file of its own: a disk that is full for some seconds is no defect, and without it there is no exit.
        parks=False,
        stop_order=7,
        ports={SIMULATOR: plan.ports.simulator},
    )
    return ProcessUnit(spec, plan.home.log_file(SIMULATOR), mark, launcher)


def service_unit(
    plan: MeshPlan,
    service: ServiceName,
    mark: InstanceMark,
    needs: tuple[str, ...],
    launcher: Launcher | None = None,
) -> ProcessUnit:
    """One service of the mesh."""
    port = plan.ports.of_service[service.name]
    page = {"page": plan.ports.page} if Need.PAGE in service.needs else {}
    spec = ProcessSpec(
        name=service.name,
        argv=run_module(service.package),
        env=python_environment(plan.environment_of(service)),
        cwd=ROOT,
        depends_on=needs,
        ready=grpc_health(f"{LOOPBACK}:{port}", dial=plan.dial),
        alive=GrpcAnswers(f"{LOOPBACK}:{port}", LIVE, plan.dial),
        # No service dies of a full disk, as each keeps its state in the database; but somebody may hold its port for a moment.
        # That is worth an alarm, and no reason to leave an exit waiting.
        parks=not service.carries_exits,
        stop_order=service.stop_order,
        ports={service.name: port, **page},
        start_timeout_seconds=_START_SECONDS,
    )
    return ProcessUnit(spec, plan.home.log_file(service.name), mark, launcher)


def units_of(
    plan: MeshPlan,
    mark: InstanceMark,
    database: Unit | None,
    make_model: Callable[[], Awaitable[None]],
    launcher: Launcher | None = None,
) -> list[Unit]:
    """Every unit of the instance; `make_model` sees to it that a model is there, once the market has candles."""
    found: list[Unit] = [database] if database is not None else []
    found.append(migration_step(plan, (DATABASE,) if database is not None else ()))
    if plan.simulator is not None:
        write_simulator_keys(plan)
        found.append(simulator_unit(plan, mark, launcher))
    found.append(StepUnit(MODEL, (services.MARKET.name,), make_model, stop_order=5))
    return [
        *found,
        *(service_unit(plan, one, mark, starts_after(plan, one), launcher) for one in plan.services),
    ]


def starts_after(plan: MeshPlan, service: ServiceName) -> tuple[str, ...]:
    """The units that must be up before a service can prove itself."""
    of_need = {Need.DATABASE: MIGRATIONS, Need.MODEL: MODEL}
    simulator = (SIMULATOR,) if plan.simulator is not None else ()
    others = (one.name for one in service.starts_after)
    return (*simulator, *(unit for need, unit in of_need.items() if need in service.needs), *others)
