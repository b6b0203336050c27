"""Starts an instance and keeps it until told to stop: keys, ports, database, processes, model, and a drain at the end."""

import asyncio
import os

from cli.console import out
from cli.exits import CommandFailed, ExitCode
from cli.instance_file import Instance, read_instance, write_instance
from cli.instance_plan import embedded_postgres, plan_of, port_uses
from cli.plan import MeshPlan
from cli.serving_model import ensure_model
from cli.stack import DATABASE, make_identities, renew_certificates, template_of, units_of
from cli.status_facts import switch_in_force
from cli.steps import in_own_words
from cli.up.adoption import AdoptionChoice, settle
from cli.up.options import UpRequest, differences, resolve
from cli.up.summary import summary
from cli.up.view import View
from supervisor.control_token import ensure_control_token
from supervisor.detach import Announcer
from supervisor.home import MeshHome
from supervisor.instance import clear_leftovers, hold_instance, lock_owner
from supervisor.keys import ensure_keys, require_private
from supervisor.ports import require_free
from supervisor.postgres_unit import PostgresUnit
from supervisor.processes import InstanceMark
from supervisor.supervisor import Supervisor, stop_on_signals
from tradekit.states import Venue


def refuse_second_start(home: MeshHome, request: UpRequest) -> None:
    """Raises CommandFailed with pid and page when the instance is up already, and with what is asked to be otherwise."""
    owner = lock_owner(home)
    if owner is None:
        return
    instance = read_instance(home)
    where = f", page {instance.page}" if instance else ""
    message = f"already up: pid {owner.pid}{where} ({home.root})"
    others = differences(request, instance) if instance else []
    if others:
        message += f"; it runs with {', '.join(others)}"
        advice = "what runs was not changed: `mesh down` first, then `mesh up` with the new choices"
        raise CommandFailed(message, advice, ExitCode.RUNNING)
    advice = "`mesh status` looks at it, `mesh ledger adopt` takes coins over, `mesh down` stops it"
    raise CommandFailed(message, advice, ExitCode.RUNNING)


def run_up(
    home: MeshHome, request: UpRequest, view: View, announcer: Announcer, adoption: AdoptionChoice | None = None
) -> None:
    """Everything from the choices to the drain; without an `adoption` whoever waits for the start sees to that. Raises
    CommandFailed, StartFailed and what they are made of.
    """
    refuse_second_start(home, request)
    instance = resolve(request, read_instance(home), os.environ)
    with hold_instance(home) as run_id:
        clear_leftovers(home)
        keys = ensure_keys(home.keys)
        if instance.simulates:
            ensure_control_token(home.keys, os.environ)
        plan = plan_of(home, instance, keys, {**os.environ})
        make_identities(plan)
        if plan.venue is Venue.LIVE:
            require_private(plan.live_key)
        require_free(port_uses(plan))
        write_instance(home, instance)
        asyncio.run(_Run(plan, instance, run_id, view, announcer, adoption).run())


class _Run:
    """One run of the supervisor."""

    def __init__(
        self,
        plan: MeshPlan,
        instance: Instance,
        run_id: str,
        view: View,
        announcer: Announcer,
        adoption: AdoptionChoice | None,
    ) -> None:
        self._plan = plan
        self._instance = instance
        self._view = view
        self._announcer = announcer
        self._adoption = adoption
        self._tasks: list[asyncio.Task[None]] = []
        mark = InstanceMark(str(plan.home.root), run_id)
        database = None if instance.own_database else PostgresUnit(embedded_postgres(plan.home), DATABASE)
        self._template = template_of(plan, mark)
        self._units = units_of(plan, mark, database, self._make_model, self._template)
        labels = {"market": instance.market, "venue": plan.venue.value, "profile": plan.profile.value}
        self._supervisor = Supervisor(plan.home, run_id, self._units, labels=labels, on_event=view.event)
        view.units([unit.spec.name for unit in self._units])

    async def run(self) -> None:
        """Until a signal, or until the start fails."""
        stop = asyncio.Event()
        stop_on_signals(stop, self._supervisor)
        self._tasks.append(asyncio.create_task(renew_certificates(self._plan, self._view.say)))
        try:
            with self._template, in_own_words(self._units):
                await self._supervisor.run(stop, self._on_ready)
        finally:
            for task in self._tasks:
                task.cancel()
            self._view.settled()

    async def _make_model(self) -> None:
        trained = await ensure_model(self._plan, self._instance.history_bars, self._view.progress, self._view.say)
        if trained.get("theta_buy") is not None and float(str(trained["theta_buy"])) >= 1.0:
            self._view.say("no threshold survives the costs: by the evidence this model says HOLD")

    async def _on_ready(self) -> None:
        self._view.say("everything is up")
        self._view.settled()
        self._announcer.ready("up")
        switch = await switch_in_force(self._instance)
        out.print(summary(self._instance, self._plan.home, os.getpid(), detached=False, switch=switch))
        if self._adoption is not None:
            # A question waits for its answer as long as it takes; the processes are watched meanwhile.
            self._tasks.append(asyncio.create_task(self._adopt(self._adoption)))

    async def _adopt(self, adoption: AdoptionChoice) -> None:
        try:
            await settle(self._instance, adoption, self._view.say)
        except Exception as error:
            from cli.faults import in_words  # knows the failures of every library, and loads them for it

            failed = in_words(error)
            self._view.say(f"nothing was adopted: {failed.message if failed else type(error).__name__}")
