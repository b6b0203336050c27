"""Runs one replay from start to end in a folder, ports and a database of its own; the ledger of `mesh up` is never touched."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from cli.candle_file import CandleFileFacts
from cli.database import database_engine
from cli.effective import refuse_faulty, simulated_taker_fee
from cli.plan import MeshPlan, Ports, SimulatorPlan
from cli.replay.agreement import Agreement, compare
from cli.replay.clock import SimulatorClock
from cli.replay.given_model import adopt, examine_given
from cli.replay.lockstep import LockStep, Steps
from cli.replay.options import ReplayOptions, ReplayRefused, examine, require_history
from cli.replay.orphans import FOLDER, postgres_of
from cli.replay.result import ReplayResult, read_result
from cli.stack import make_identities, template_of, units_of
from cli.steps import in_own_words
from cli.training_job import train_model
from modelkit.labels import LabelRule
from supervisor.embedded_postgres import EmbeddedPostgres
from supervisor.home import MeshHome
from supervisor.instance import bring_down, hold_instance
from supervisor.keeper import Event
from supervisor.keys import ensure_keys, key_files
from supervisor.ports import free_ports
from supervisor.postgres_unit import PostgresUnit
from supervisor.processes import InstanceMark
from supervisor.supervisor import Supervisor, stop_on_signals
from tradekit.products import quote_currency
from tradekit.services import MONITOR, SERVICES
from tradekit.states import Venue

OPENING = Decimal(10000)


@dataclass(frozen=True, slots=True)
class Watching:
    """Receives what happens: progress of a named stage (0..1), supervisor events, and each bar before it is processed."""

    progress: Callable[[str, float], None]
    event: Callable[[Event], None]
    bar: Callable[[int, datetime, Supervisor, MeshPlan], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A finished replay: its result, and whether ledger and exchange agree."""

    options: ReplayOptions
    steps: Steps
    result: ReplayResult
    agreement: Agreement
    model: dict[str, object]
    folder: Path


async def replay(
    options: ReplayOptions,
    root: Path,
    watching: Watching,
    keep: bool = False,
    arranged: Callable[[MeshPlan], MeshPlan] = lambda plan: plan,
) -> ReplayReport:
    """Runs it all. Raises ReplayRefused, ReplayStalled, StartFailed. A folder of a failed replay is kept for its logs.

    `arranged` may give the plan another shape before anything of it is made, such as sidecars between the services.
    """
    found = await asyncio.to_thread(examine, options)
    examine_given(options)
    folder = root / FOLDER / f"{options.begin:%Y%m%d}-{options.end:%Y%m%d}-{os.getpid()}-{secrets.token_hex(3)}"
    home = MeshHome.at(folder)
    home.root.parent.mkdir(parents=True, exist_ok=True)
    postgres = postgres_of(home)
    plan = arranged(plan_of(options, found, home, postgres))
    refuse_faulty(plan)
    require_history(options, found)
    with hold_instance(home) as run_id:
        ensure_keys(home.keys)
        make_identities(plan)
        report = await _Run(options, found, plan, postgres, run_id, watching).run()
    await asyncio.to_thread(bring_down, home, postgres)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def plan_of(options: ReplayOptions, found: CandleFileFacts, home: MeshHome, postgres: EmbeddedPostgres) -> MeshPlan:
    """The instance that replays: free ports, its own keys, the market paused at the beginning."""
    numbers = free_ports(len(SERVICES) + 2)
    ports = Ports({service.name: numbers[i] for i, service in enumerate(SERVICES)}, numbers[-2], numbers[-1])
    extra = {
        "MARKET_FOLLOW": "off",
        "MARKET_GRACE_SECONDS": "0",
        "REVIEW_BUDGET_PER_BAR": str(options.reviews_per_bar),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "LLM_"))}
    return MeshPlan(
        home=home,
        venue=Venue.REPLAY,
        profile=options.profile,
        products=options.products,
        granularity=found.granularity,
        run_id=f"replay-{options.seed}",
        ports=ports,
        keys=key_files(home.keys),
        database=postgres.address.environment(),
        control_token=secrets.token_urlsafe(24),
        simulator=SimulatorPlan(f"replay:{options.file.resolve()}", 0.0, options.seed, options.begin),
        services=tuple(one for one in SERVICES if options.with_monitor or one is not MONITOR),
        inherited=inherited,
        extra=extra,
    )


class _Run:
    """The parts of one replay while it runs."""

    def __init__(
        self,
        options: ReplayOptions,
        found: CandleFileFacts,
        plan: MeshPlan,
        postgres: EmbeddedPostgres,
        run_id: str,
        watching: Watching,
    ) -> None:
        self._options = options
        self._found = found
        self._plan = plan
        self._watching = watching
        self._steps = Steps(options.begin, options.end, found.granularity_seconds)
        clock = SimulatorClock(plan.simulator_host, plan.simulator_ca, plan.control_token)
        self._lockstep = LockStep(plan, clock)
        self._stop = asyncio.Event()
        self._model: dict[str, object] = {}
        self._report: ReplayReport | None = None
        self._failure: BaseException | None = None
        mark = InstanceMark(str(plan.home.root), run_id)
        self._template = template_of(plan, mark)
        self._units = units_of(plan, mark, PostgresUnit(postgres), self._make_model, self._template)
        self._supervisor = Supervisor(
            plan.home, run_id, self._units, labels={"mode": "replay"}, on_event=watching.event
        )

    async def run(self) -> ReplayReport:
        """Starts, leads, reads, stops; a signal ends it at any moment, with its processes."""
        try:
            stop_on_signals(self._stop, self._supervisor)
            with self._template, in_own_words(self._units):
                await self._supervisor.run(self._stop, self._lead_or_stop)
        finally:
            with suppress(Exception):
                await self._lockstep.close()
        if self._failure is not None:
            raise self._failure
        if self._report is None:
            raise ReplayRefused("the replay was stopped before its end")
        return self._report

    async def _lead_or_stop(self) -> None:
        lead = asyncio.create_task(self._lead(), name="lead")
        told = asyncio.create_task(self._stop.wait(), name="told-to-stop")
        await asyncio.wait({lead, told}, return_when=asyncio.FIRST_COMPLETED)
        for task in (lead, told):
            task.cancel()
        await asyncio.wait({lead, told})

    async def _lead(self) -> None:
        """Everything between ready and stop; a failure is kept, so that the processes are stopped in order first."""
        try:
            await self._lockstep.run(self._steps, self._on_bar)
            self._watching.progress("bars", 1.0)
            agreement = await compare(self._plan)
            result = await self._read()
            self._report = ReplayReport(
                self._options, self._steps, result, agreement, self._model, self._plan.home.root
            )
        except Exception as error:
            self._failure = error
        finally:
            self._stop.set()

    async def _on_bar(self, index: int, as_of: datetime) -> None:
        self._watching.progress("bars", index / self._steps.count)
        if self._watching.bar is not None:
            await self._watching.bar(index, as_of, self._supervisor, self._plan)

    async def _read(self) -> ReplayResult:
        engine = database_engine(self._plan.database_address)
        try:
            async with asyncio.timeout(120), engine.connect() as connection:
                first = self._steps.begin - timedelta(seconds=self._steps.granularity)
                parameters = {"first": first, "end": self._steps.end}
                quote = quote_currency(self._options.products[0])
                return await read_result(connection, parameters, quote, OPENING, simulated_taker_fee(self._plan))
        finally:
            await engine.dispose()

    async def _make_model(self) -> None:
        """History through the exchange client, then a model that has seen nothing of the period."""
        await self._lockstep.fetch_history(
            self._found.first, self._options.begin, lambda share: self._watching.progress("history", share)
        )
        if self._options.model is not None:
            self._model = adopt(self._options.model, self._plan)
            return
        horizon = timedelta(seconds=LabelRule().horizon_bars * self._found.granularity_seconds)
        self._model = await train_model(
            self._plan, self._plan.model_folder, self._options.begin - horizon, self._watching.progress
        )
