"""Runs all units: starts them in the order of their dependencies, keeps them, and stops them in reverse.

It decides nothing about the units themselves; what it knows is published to `run/state.json` at every change.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

from supervisor.home import MeshHome
from supervisor.keeper import Event, Keeper
from supervisor.liveness import LivenessPolicy
from supervisor.processes import ProcessIdentity, identity_of
from supervisor.reaper import Reaper
from supervisor.restart_policy import RestartPolicy
from supervisor.restart_request import take_requests
from supervisor.state import MeshState, stamp_of, write_state
from supervisor.unit import StartFailed, Unit

DRAIN_SECONDS = 45.0
"""All units together get this long to end by themselves; then each is killed as its turn comes."""


_LOOK_SECONDS = 0.5


class Supervisor:
    """One run of a list of units inside one state folder. The caller holds the folder's instance lock."""

    def __init__(
        self,
        home: MeshHome,
        run_id: str,
        units: Sequence[Unit],
        *,
        labels: Mapping[str, str],
        on_event: Callable[[Event], None],
        policy: RestartPolicy | None = None,
        liveness: LivenessPolicy | None = None,
    ) -> None:
        self._home = home
        self._run_id = run_id
        self._labels = dict(labels)
        self._since = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._identity = identity_of(os.getpid()) or ProcessIdentity(os.getpid(), time.time())
        self._depth = dependency_depths(units)
        self._failure: StartFailed | None = None
        # The file as it was left here; None where it could not be written.
        self._published: tuple[int, ...] | None = ()
        self._failed = asyncio.Event()
        self._hurry = asyncio.Event()
        restarts, hear = policy or RestartPolicy(), (self._publish, on_event, self._on_start_failure)
        self._keepers = {unit.spec.name: Keeper(unit, restarts, *hear, liveness) for unit in units}

    @property
    def state(self) -> MeshState:
        services = tuple(keeper.state for keeper in self._keepers.values())
        return MeshState(self._run_id, self._identity, self._since, self._labels, services)

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Starts all, calls `on_ready`, keeps all until `stop`, drains. Raises `StartFailed`."""
        reaper = Reaper(self._home, self._run_id)
        try:
            self._publish()
            async with asyncio.TaskGroup() as group:
                for keeper in self._keepers.values():
                    depends_on = keeper.unit.spec.depends_on
                    keeper.begin(group, [self._keepers[name] for name in depends_on])
                requests = group.create_task(self._poll_requests(group), name="requests")
                try:
                    if await self._everything_ready(stop):
                        await on_ready()
                        await stop.wait()
                finally:
                    requests.cancel()
                    await self._drain()
        finally:
            reaper.dismiss()
        if self._failure is not None:
            raise self._failure

    def hurry(self) -> None:
        """Ends the wait of a drain: whatever has not stopped yet is killed."""
        self._hurry.set()

    async def _everything_ready(self, stop: asyncio.Event) -> bool:
        """True when all are ready; False when told to stop, or when one failed to start."""

        async def all_ready() -> None:
            for keeper in self._keepers.values():
                await keeper.ready.wait()

        waits = [asyncio.create_task(wait) for wait in (all_ready(), stop.wait(), self._failed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
        return not stop.is_set() and not self._failed.is_set()

    async def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        for batch in stop_batches([keeper.unit for keeper in self._keepers.values()], self._depth):
            async with asyncio.TaskGroup() as group:
                for unit in batch:
                    left = max(0.0, deadline - time.monotonic())
                    grace = min(unit.spec.stop_grace_seconds, left)
                    group.create_task(self._keepers[unit.spec.name].stop(grace, self._hurry))

    async def _poll_requests(self, group: asyncio.TaskGroup) -> None:
        """Restarts what another shell asks for, and publishes again what a full disk kept from being published, or what somebody
        else has changed since."""
        take_requests(self._home.run)  # of a run before this one
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._published != stamp_of(self._home.state_file):
                self._publish()
            for name in take_requests(self._home.run):
                keeper = self._keepers.get(name)
                if keeper is not None and not keeper.unit.spec.run_once:
                    needs = [self._keepers[needed] for needed in keeper.unit.spec.depends_on]
                    await keeper.restart(group, needs, keeper.unit.spec.stop_grace_seconds)

    def _on_start_failure(self, failure: StartFailed) -> None:
        if self._failure is None:
            self._failure = failure
            self._failed.set()

    def _publish(self) -> None:
        try:
            write_state(self._home.state_file, self.state)
            self._published = stamp_of(self._home.state_file)
        except OSError:
            self._published = None  # a full disk must not end the supervisor; it is tried again in a moment


def dependency_depths(units: Sequence[Unit]) -> dict[str, int]:
    """How many starts lie before each unit. Refuses unknown names, cycles and stop orders that contradict
    them.
    """
    specs = {unit.spec.name: unit.spec for unit in units}
    if len(specs) != len(units):
        raise ValueError("two units have the same name")
    depths: dict[str, int] = {}

    def depth(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise ValueError(f"units depend on each other: {' -> '.join((*path, name))}")
        if name not in depths:
            spec = specs[name]
            for needed in spec.depends_on:
                if needed not in specs:
                    raise ValueError(f"{name} depends on {needed}, which is not among the units")
                if specs[needed].stop_order < spec.stop_order:
                    raise ValueError(f"{needed} would stop before {name}, which depends on it")
            depths[name] = 1 + max((depth(needed, (*path, name)) for needed in spec.depends_on), default=-1)
        return depths[name]

    for name in specs:
        depth(name, ())
    return depths


def stop_batches(units: Sequence[Unit], depths: Mapping[str, int]) -> list[list[Unit]]:
    """Units in the order they stop; one batch stops together."""

    def key(unit: Unit) -> tuple[int, int]:
        return unit.spec.stop_order, -depths[unit.spec.name]

    return [list(batch) for _, batch in groupby(sorted(units, key=key), key=key)]


def stop_on_signals(stop: asyncio.Event, supervisor: Supervisor) -> None:
    """Ctrl-C, SIGTERM and a closed terminal ask for a drain; asked a second time, the drain is cut short."""

    def asked() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked)
