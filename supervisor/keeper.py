"""Keeps one unit alive: waits for what it depends on, starts it, proves it ready, asks from then on whether it still
answers, starts it again when it dies or hangs.

A unit that fails before it was ever ready fails the whole start: the person in front of it wants to know
now. After that, deaths are answered by the restart policy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf

from supervisor.liveness import LivenessPolicy, LivenessProbe, watch
from supervisor.processes import ProcessIdentity
from supervisor.readiness import NotReady
from supervisor.restart_policy import DeathRecord, Park, Restart, RestartPolicy, after_death
from supervisor.state import ServiceState, Status
from supervisor.unit import Exit, StartFailed, Unit

_PROBE_PAUSE_SECONDS = 0.1
_PROBE_DEADLINE_SECONDS = 5.0
_NOTE_PAUSE_SECONDS = 0.5
# A start is told to have failed after its timeout; on a machine that is busy with everything else it gets this often as long.
_FIRST_ANSWER_FACTOR = 2.0


class EventKind(StrEnum):
    STARTING = "starting"
    READY = "ready"
    HUNG = "hung"
    ANSWERS_AGAIN = "answers_again"
    DONE = "done"
    DIED = "died"
    PARKED = "parked"
    STOPPED = "stopped"
    START_FAILED = "start_failed"
    STOP_FAILED = "stop_failed"


NEWS = (EventKind.HUNG, EventKind.ANSWERS_AGAIN, EventKind.DIED, EventKind.PARKED, EventKind.STOP_FAILED)
"""What somebody should see while everything runs."""


@dataclass(frozen=True, slots=True)
class Event:
    service: str
    kind: EventKind
    detail: str = ""


class Keeper:
    """One unit and its life story. `publish` is called after every change of `state`."""

    def __init__(
        self,
        unit: Unit,
        policy: RestartPolicy,
        publish: Callable[[], None],
        on_event: Callable[[Event], None],
        on_start_failure: Callable[[StartFailed], None],
        liveness: LivenessPolicy | None = None,
    ) -> None:
        self.unit = unit
        self.state = ServiceState(
            unit.spec.name,
            since=_now(),
            ports=dict(unit.spec.ports),
            survives_supervisor=unit.spec.survives_supervisor,
        )
        self.ready = asyncio.Event()
        self._policy = policy if unit.spec.parks else replace(policy, deaths_to_park=None)
        liveness = liveness or LivenessPolicy()
        self._liveness = liveness if unit.spec.killed_when_hung else replace(liveness, silence_to_kill_seconds=inf)
        self._publish = publish
        self._on_event = on_event
        self._on_start_failure = on_start_failure
        self._task: asyncio.Task[None] | None = None
        self._killed_for = ""

    def begin(self, group: asyncio.TaskGroup, dependencies: Sequence[Keeper]) -> None:
        self._task = group.create_task(self._keep(dependencies), name=f"keep-{self.unit.spec.name}")

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> None:
        """Ends the keeping first, then the unit, so that its end is not taken for a death."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self.state.process is not None:
            self._change(Status.STOPPING)
        try:
            await self.unit.stop(grace_seconds, hurry)
        except Exception as error:  # the others still have to be stopped
            self._change(Status.STOPPING, detail=str(error))
            self._tell(EventKind.STOP_FAILED, str(error))
            return
        if self.state.status not in (Status.PARKED, Status.DONE):
            self._change(Status.STOPPED, process=None, detail=self.unit.note)
            self._tell(EventKind.STOPPED, self.unit.note)

    async def restart(self, group: asyncio.TaskGroup, dependencies: Sequence[Keeper], grace_seconds: float) -> None:
        """Ends the unit if it lives and begins its keeping anew: its deaths so far no longer count."""
        await self.stop(grace_seconds, asyncio.Event())
        self.state = replace(self.state, restarts=self.state.restarts + 1)
        self._change(Status.WAITING, process=None, detail="restarted by hand")
        self.begin(group, dependencies)

    async def _keep(self, dependencies: Sequence[Keeper]) -> None:
        await self._wait_for(dependencies)
        record = DeathRecord()
        while True:
            launched = time.monotonic()
            ended = await self._live_once()
            if self.unit.spec.run_once and ended.ok:
                self._change(Status.DONE, process=None, last_exit=ended.text)
                self.ready.set()
                self._tell(EventKind.DONE)
                return
            if not self.ready.is_set():
                # A step is never ready: it says itself why it ended.
                was_to_serve = self.state.process is not None and not self.unit.spec.run_once
                self._fail_start(f"{ended.text} before it was ready" if was_to_serve else ended.text)
                return
            now = time.monotonic()
            record, decision = after_death(self._policy, record, now, now - launched)
            if isinstance(decision, Park):
                self._park(ended, decision)
                return
            await self._back_off(ended, decision)

    async def _wait_for(self, dependencies: Sequence[Keeper]) -> None:
        while missing := [one for one in dependencies if not one.ready.is_set()]:
            self._change(Status.WAITING, detail=f"for {', '.join(one.unit.spec.name for one in missing)}")
            await missing[0].ready.wait()

    async def _live_once(self) -> Exit:
        """One life from launch to death. Whatever breaks in it is its death, never that of the others."""
        self._tell(EventKind.STARTING)
        try:
            return await self._launch_and_wait()
        except StartFailed as error:
            return Exit(False, str(error))
        except Exception as error:
            return Exit(False, f"{type(error).__name__}: {error}")

    async def _launch_and_wait(self) -> Exit:
        self._change(Status.STARTING, process=None, detail="")
        identity = await self._launch()
        self._change(Status.STARTING, process=identity, detail="")
        if self.unit.spec.run_once:
            return await self.unit.wait()
        self._killed_for = ""
        name, alive = self.unit.spec.name, self.unit.spec.alive
        helpers = [asyncio.create_task(self._prove_ready(), name=f"probe-{name}")]
        if alive is not None:
            helpers.append(asyncio.create_task(self._watch(alive), name=f"watch-{name}"))
        try:
            ended = await self.unit.wait()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
        return Exit(False, self._killed_for) if self._killed_for else ended

    async def _launch(self) -> ProcessIdentity:
        """Launches, and tells meanwhile what that waits for."""
        teller = asyncio.create_task(self._tell_notes(), name=f"notes-{self.unit.spec.name}")
        try:
            return await self.unit.launch()
        finally:
            teller.cancel()
            await asyncio.wait({teller})

    async def _tell_notes(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(_NOTE_PAUSE_SECONDS)
            if (note := self.unit.note) != told:
                told = note
                self._change(Status.STARTING, detail=note)
                self._tell(EventKind.STARTING, note)

    async def _watch(self, probe: LivenessProbe) -> None:
        """Says when the unit hangs, and kills it when it has hung for too long: then it is started again like any dead one."""
        ready_since = self.state.since

        def on_silence(since: float, reason: str) -> None:
            nonlocal ready_since
            if self.state.status is not Status.READY:
                return  # it says already that it is not ready, and why
            ready_since = self.state.since
            last = datetime.now(UTC) - timedelta(seconds=time.monotonic() - since)
            detail = f"does not answer since {last:%H:%M:%S} UTC ({reason})"
            self._change(Status.HUNG, since=last.isoformat(timespec="milliseconds"), detail=detail)
            self._tell(EventKind.HUNG, detail)

        def on_answer() -> None:
            if self.state.status is Status.HUNG:
                self._change(Status.READY, since=ready_since, detail="")
                self._tell(EventKind.ANSWERS_AGAIN)

        first = self.unit.spec.start_timeout_seconds * _FIRST_ANSWER_FACTOR
        silence = await watch(
            probe, self._liveness, first_answer_seconds=first, on_silence=on_silence, on_answer=on_answer
        )
        self._killed_for = f"{silence}, so it was killed"
        hurry = asyncio.Event()
        hurry.set()  # a grace is for who can still answer; every service is made to survive a kill
        await self.unit.stop(0.0, hurry)

    async def _prove_ready(self) -> None:
        deadline = time.monotonic() + self.unit.spec.start_timeout_seconds
        while (reason := await self._probe()) is not None:
            if time.monotonic() > deadline and not self.ready.is_set():
                self._fail_start(f"not ready after {self.unit.spec.start_timeout_seconds:g} s ({reason})")
                return
            if reason != self.state.detail:
                self._change(Status.STARTING, detail=reason)
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)
        self._change(Status.READY, detail="")
        self.ready.set()
        self._tell(EventKind.READY)

    async def _probe(self) -> str | None:
        """One attempt; the reason if it failed. A probe that breaks is not ready, and says how it broke."""
        try:
            async with asyncio.timeout(_PROBE_DEADLINE_SECONDS):
                await self.unit.spec.ready()
        except NotReady as error:
            return str(error)
        except TimeoutError:
            return f"no answer within {_PROBE_DEADLINE_SECONDS:g} s"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _fail_start(self, reason: str) -> None:
        name = self.unit.spec.name
        lines = self.unit.last_lines()
        text = f"{name}: {reason}" + (f"\nlast lines of its log:\n{lines}" if lines else "")
        self._tell(EventKind.START_FAILED, reason)
        self._on_start_failure(StartFailed(text))

    def _park(self, ended: Exit, park: Park) -> None:
        detail = f"{ended.text}; {park.deaths} deaths within {park.window_seconds:g} s"
        self._change(Status.PARKED, process=None, last_exit=ended.text, detail=detail)
        self._tell(EventKind.PARKED, detail)

    async def _back_off(self, ended: Exit, restart: Restart) -> None:
        detail = f"{ended.text}; next start in {restart.pause_seconds:g} s"
        self._change(Status.BACKOFF, process=None, last_exit=ended.text, detail=detail)
        self._tell(EventKind.DIED, detail)
        await asyncio.sleep(restart.pause_seconds)
        self.state = replace(self.state, restarts=self.state.restarts + 1)

    def _change(self, status: Status, **changes: object) -> None:
        changes.setdefault("since", self.state.since if status == self.state.status else _now())
        self.state = replace(self.state, status=status, **changes)  # type: ignore[arg-type]
        self._publish()

    def _tell(self, kind: EventKind, detail: str = "") -> None:
        self._on_event(Event(self.unit.spec.name, kind, detail))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
