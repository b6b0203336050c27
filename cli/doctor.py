"""The checks of `mesh doctor`: each looks at one thing the mesh stands on and says what to do where it does not hold.

They change nothing, and each works whether the mesh is up or not.
"""

import asyncio
import shutil
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import aiohttp
import asyncpg
from pydantic import ValidationError

from cli.effective import as_line, read_configuration, settings_of, told_once
from cli.instance_file import Instance
from cli.instance_plan import port_uses
from cli.plan import MeshPlan
from cli.serving_model import examine_model, recorded_champion, why_retrain
from cli.status_facts import ask_ledger
from cli.up.options import Choices
from meshkit.database_link import PROMISES, broken_promises, why_not_secure
from meshkit.errors import MeshError, Misconfigured
from meshkit.hosts import parse_host, session_proxy
from supervisor.control_token import control_token_file
from supervisor.instance import lock_owner
from supervisor.keys import UnsafeKey, require_private
from supervisor.ports import PortConflict, require_apart, require_free
from supervisor.postmaster import find_postmaster
from supervisor.state import RUNNING, ServiceState, Status, observe_state
from tradekit import services
from tradekit.ledger_words import joined
from tradekit.states import Venue

_SECONDS = 5.0
_GIB = 1 << 30
# An exchange JWT is valid for two minutes; half of that is already trouble.
_SKEW_WARN, _SKEW_FAIL = 2.0, 60.0


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, what to do."""

    level: Level
    subject: str
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    plan: MeshPlan
    choices: Choices
    notes: tuple[str, ...] = ()  # what of the environment is not followed, or read by nobody

    @property
    def instance(self) -> Instance:
        """What would run."""
        return self.choices.instance

    @property
    def running(self) -> bool:
        """True while a supervisor holds the folder."""
        return lock_owner(self.plan.home) is not None


Check = Callable[[Patient], Awaitable[list[Finding]]]


async def examine(patient: Patient) -> list[Finding]:
    """All checks, in the order in which a start needs them."""
    groups = await asyncio.gather(*(check(patient) for check in CHECKS))
    return [finding for group in groups for finding in group]


async def _python(patient: Patient) -> list[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = sys.version_info >= (3, 11)
    return [Finding(Level.OK if good else Level.FAIL, "python", version, "" if good else "use Python 3.11 or newer")]


async def _disk(patient: Patient) -> list[Finding]:
    home = patient.plan.home
    reason = home.why_not_writable()
    if reason is not None:
        return [Finding(Level.FAIL, "disk", reason, "name a folder that you may write to with MESH_HOME")]
    free = shutil.disk_usage(home.nearest).free
    seen = f"{free / _GIB:.1f} GiB free for {home.root}"
    if free < _GIB // 2:
        return [Finding(Level.FAIL, "disk", seen, "make room: a full disk stops the database")]
    level = Level.WARN if free < 2 * _GIB else Level.OK
    return [Finding(level, "disk", seen, "make room soon" if level is Level.WARN else "")]


async def _configuration(patient: Patient) -> list[Finding]:
    faults = [*map(as_line, patient.choices.faults), *told_once(patient.plan, read_configuration(patient.plan))]
    found = [Finding(Level.FAIL, "configuration", line) for line in faults]
    found += [Finding(Level.WARN, "configuration", note) for note in patient.notes]
    return found or [Finding(Level.OK, "configuration", "every service accepts its settings")]


async def _keys(patient: Patient) -> list[Finding]:
    plan = patient.plan
    if not plan.home.keys.exists():
        return [Finding(Level.OK, "keys", "none yet; mesh up makes them")]
    files = [path for path in (*astuple(plan.keys), control_token_file(plan.home.keys)) if path.exists()]
    found = [_key(path) for path in (plan.home.keys, *files)]
    bad = [finding for finding in found if finding is not None]
    if plan.venue is Venue.LIVE and (live := _key(plan.live_key)) is not None:
        bad.append(live)
    return bad or [Finding(Level.OK, "keys", f"{plan.home.keys}: closed to everybody else")]


async def _live_key(patient: Patient) -> list[Finding]:
    """With real money, what the exchange says of the key."""
    if patient.plan.venue is not Venue.LIVE:
        return []
    from exchange_client import open_exchange
    from svc_executor.live_key_check import key_faults
    from svc_executor.settings import ExecutorSettings

    try:
        settings = settings_of(patient.plan, services.EXECUTOR, ExecutorSettings)
    except ValidationError:
        return []  # told as the configuration
    try:
        exchange = await open_exchange(settings.exchange_config())
        try:
            permissions = await exchange.key_permissions()
        finally:
            await exchange.close()
    except MeshError as error:
        return [Finding(Level.FAIL, "live key", error.message, "check the network, this machine's clock, and the key")]
    faults = key_faults(permissions)
    if permissions.portfolio_uuid.lower() != patient.plan.portfolio.lower():
        faults.append(f"it is of portfolio {permissions.portfolio_uuid}, not of {patient.plan.portfolio}")
    seen = f"portfolio {permissions.portfolio_uuid}; may view and trade, cannot move money out"
    return [Finding(Level.FAIL, "live key", one) for one in faults] or [Finding(Level.OK, "live key", seen)]


def _key(path: Path) -> Finding | None:
    try:
        require_private(path)
    except (UnsafeKey, OSError) as error:
        return Finding(Level.FAIL, "keys", str(error), "a key that others can read is no key")
    return None


async def _ports(patient: Patient) -> list[Finding]:
    require = require_apart if patient.running else require_free
    try:
        await asyncio.to_thread(require, port_uses(patient.plan))
    except PortConflict as conflict:
        return [Finding(Level.FAIL, "ports", line) for line in str(conflict).splitlines()]
    seen = "in use by this mesh" if patient.running else "all free"
    return [Finding(Level.OK, "ports", f"{seen}, and each given once")]


async def _processes(patient: Patient) -> list[Finding]:
    state = observe_state(patient.plan.home.state_file)
    if state is None or not patient.running:
        left = [one.name for one in state.services if one.status in RUNNING] if state is not None else []
        if left:
            seen = f"left behind by a supervisor that is gone: {', '.join(left)}"
            return [Finding(Level.WARN, "processes", seen, "`mesh down` ends them, `mesh up` starts again")]
        return [Finding(Level.OK, "processes", "not running")]
    bad = [one for one in state.services if one.status not in (Status.READY, Status.DONE)]
    return [
        Finding(
            Level.FAIL, "processes", f"{one.name} is {one.status.value}", f"read {patient.plan.home.log_file(one.name)}"
        )
        for one in bad
    ] or [Finding(Level.OK, "processes", _at_work(state.services))]


def _at_work(units: Sequence[ServiceState]) -> str:
    """How many run, and which had a job that is done."""
    done = [one.name for one in units if one.status is Status.DONE]
    return f"{len(units) - len(done)} up" + (f"; done: {', '.join(done)}" if done else "")


async def _database(patient: Patient) -> list[Finding]:
    home = patient.plan.home
    if not patient.instance.own_database and find_postmaster(home.postgres) is None:
        made = "stopped; mesh up starts it" if home.postgres.exists() else "none yet; mesh up makes it"
        return [Finding(Level.OK, "database", f"embedded, {made}")]
    try:
        address = patient.plan.database_address
    except Misconfigured as wrong:
        return [Finding(Level.FAIL, "database", wrong.message, "mend the variable named above")]
    where = address.host
    try:
        connection = await asyncpg.connect(**address.arguments("mesh"), timeout=_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        secure = why_not_secure(error, address)
        seen = secure or f"no connection to {where}: {str(error) or type(error).__name__}"
        return [
            Finding(
                Level.FAIL, "database", seen, "" if secure else "check DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD"
            )
        ]
    try:
        return list(await _inside(connection, where))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [
            Finding(
                Level.FAIL, "database", f"{where}: {str(error) or type(error).__name__}", "look at the server's log"
            )
        ]
    finally:
        await connection.close(timeout=_SECONDS)


async def _inside(connection: "asyncpg.Connection", where: str) -> list[Finding]:
    read_only = await connection.fetchval("SHOW transaction_read_only", timeout=_SECONDS) == "on"
    may_create = await connection.fetchval(
        "SELECT has_schema_privilege(current_user, 'public', 'CREATE')", timeout=_SECONDS
    )
    if read_only or not may_create:
        seen = f"{where} answers but cannot be written"
        return [Finding(Level.FAIL, "database", seen, "use the primary, and a role that may CREATE in schema public")]
    if broken := broken_promises(await connection.fetchrow(PROMISES, timeout=_SECONDS)):
        return [Finding(Level.FAIL, "database", broken)]
    table = await connection.fetchval("SELECT to_regclass('alembic_version')::text", timeout=_SECONDS)
    version = await connection.fetchval("SELECT version_num FROM alembic_version", timeout=_SECONDS) if table else None
    newest = newest_revision()
    if version != newest:
        seen = f"{where}: schema is {version or 'empty'}, this program's is {newest}"
        return [Finding(Level.WARN, "database", seen, "`mesh up` migrates it")]
    return [Finding(Level.OK, "database", f"{where}: writable, schema {version}"), *await _roles(connection)]


async def _roles(connection: "asyncpg.Connection") -> list[Finding]:
    from cli.database_roles import faults_of_roles  # with the whole schema, which no other check needs

    faults = await faults_of_roles(connection, _SECONDS)
    return [Finding(Level.FAIL, "database roles", seen, advice) for seen, advice in faults] or [
        Finding(Level.OK, "database roles", "one for each service, with the rights that it needs and no others")
    ]


def newest_revision() -> str | None:
    """The schema's newest revision."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import schema.migrate

    config = Config()
    config.set_main_option("script_location", str(Path(schema.migrate.__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config).get_current_head()


async def _clock(patient: Patient) -> list[Finding]:
    plan = patient.plan
    simulated = plan.venue is Venue.SIMULATED
    if simulated and not patient.running:
        return [Finding(Level.OK, "clock", "the simulated exchange is not running; its time is its own")]
    host = plan.simulator_host if simulated else plan.real_exchange
    try:
        context = ssl.create_default_context(cafile=str(plan.simulator_ca) if simulated else None)
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, **session_proxy(parse_host(host))) as session,
            session.get(f"https://{host}/api/v3/brokerage/time", ssl=context) as answer,
        ):
            answer.raise_for_status()
            theirs = datetime.fromisoformat((await answer.json())["iso"])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
        seen = f"{host} does not tell its time: {str(error) or type(error).__name__}"
        return [
            Finding(Level.FAIL, "clock", seen, "check the network, a proxy (HTTPS_PROXY), and the exchange's status")
        ]
    if simulated:
        return [Finding(Level.OK, "clock", f"market time {theirs:%Y-%m-%d %H:%M}; the simulation's own")]
    skew = abs(time.time() - theirs.timestamp())
    level = Level.FAIL if skew > _SKEW_FAIL else Level.WARN if skew > _SKEW_WARN else Level.OK
    advice = "" if level is Level.OK else "synchronise this machine's clock (NTP): API keys are checked by time"
    return [Finding(level, "clock", f"{skew:.1f} s from {host}", advice)]


async def _model(patient: Patient) -> list[Finding]:
    folder = patient.plan.model_folder
    if not folder.exists():
        return [Finding(Level.OK, "model", "none yet; mesh up trains one")]
    verdict = await examine_model(patient.plan, await recorded_champion(patient.plan))
    reason = why_retrain(verdict, patient.plan.products)
    if not verdict.usable:
        return [Finding(Level.FAIL, "model", f"{folder} is refused: {verdict.reason}, {reason}", "`mesh train`")]
    if reason:
        return [Finding(Level.WARN, "model", f"{folder}: {reason}", "the next `mesh up` trains another")]
    return [Finding(Level.OK, "model", f"{verdict.model_version}, trained to {verdict.train_to}")]


async def _reviewer(patient: Patient) -> list[Finding]:
    host = patient.plan.inherited.get("OLLAMA_HOST", "")
    if not host:
        return [Finding(Level.OK, "reviewer", "rules; set OLLAMA_HOST for a language model")]
    wanted = patient.plan.inherited.get("OLLAMA_MODEL") or _default_model()
    from svc_validator.reviewers.model_server import ModelMissing
    from svc_validator.reviewers.ollama import SERVER_FAULTS, OllamaServer

    meanwhile = "the rules decide meanwhile"
    try:
        server = OllamaServer(host, wanted)
        try:
            await server.identify(_SECONDS)
        finally:
            await server.close()
    except ModelMissing as missing:
        return [Finding(Level.WARN, "reviewer", f"Ollama at {host}: {missing}", meanwhile)]
    except SERVER_FAULTS as error:
        seen = f"Ollama at {host} does not answer: {str(error) or type(error).__name__}"
        return [Finding(Level.WARN, "reviewer", seen, f"start it, or unset OLLAMA_HOST; {meanwhile}")]
    return [Finding(Level.OK, "reviewer", f"{wanted} at {host}")]


def _default_model() -> str:
    from svc_validator.settings import ValidatorSettings

    return str(ValidatorSettings.model_fields["ollama_model"].default)


async def _ledger(patient: Patient) -> list[Finding]:
    if not patient.running:
        return [Finding(Level.OK, "ledger", "not running; compared with the exchange once it is up")]
    words = await ask_ledger(patient.instance)
    if words is None or not words.reconciled:
        seen = "the executor does not say whether the ledger agrees with the exchange"
        return [Finding(Level.WARN, "ledger", seen, f"read {patient.plan.home.log_file('executor')}")]
    advice = "`mesh ledger show` says how to book it"
    found = [Finding(Level.FAIL, "ledger", line, advice) for line in words.differences]
    found += [
        Finding(Level.WARN, "ledger", line, "it is not the mesh's; cancel it, or book it") for line in words.foreign
    ]
    found += [Finding(Level.WARN, "fees", line, "unset TAKER_FEE to follow the exchange") for line in words.fees]
    if words.unadopted:
        seen = f"not the mesh's own, never sold: {joined(words.unadopted)}"
        found.append(Finding(Level.OK, "ledger", seen, "`mesh ledger adopt COIN` lets the mesh sell it"))
    return found or [Finding(Level.OK, "ledger", "agrees with the exchange")]


def worst(findings: list[Finding]) -> Level:
    """The gravest level."""
    order = (Level.FAIL, Level.WARN)
    return next((level for level in order if any(one.level is level for one in findings)), Level.OK)


CHECKS: tuple[Check, ...] = (
    _python,
    _disk,
    _configuration,
    _keys,
    _live_key,
    _ports,
    _processes,
    _database,
    _clock,
    _model,
    _reviewer,
    _ledger,
)
