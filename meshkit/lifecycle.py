"""The life of a service process: start, serve, drain, stop, in the order that loses nothing.

Drain: health says NOT_SERVING, discovery gets its time, own work ends, running calls get a grace, critical tasks are
awaited, then everything is closed. A second signal cuts the grace short.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from meshkit import server as servers
from meshkit.errors import Misconfigured
from meshkit.health import LIVE, Group, HealthPoller, HealthServicer
from meshkit.identity import IdentitySource
from meshkit.kit import Kit
from meshkit.settings import KitSettings
from meshkit.spec import Action, Check, ServiceSpec, Task

EXIT_DRAINED = 0
EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2

# What may take all of DRAIN_SECONDS, one after the other: on_drain, own tasks, running calls, tasks that live on, critical
# tasks, on_stop.
DRAIN_PARTS = 6

S = TypeVar("S", bound=KitSettings)
Build = Callable[[S, Kit[S]], ServiceSpec | Awaitable[ServiceSpec]]


def longest_drain_seconds(settings: KitSettings) -> float:
    """How long a process may take to end by itself; whoever kills it earlier cuts off what it was about to record."""
    return settings.drain_notice_seconds + DRAIN_PARTS * max(settings.drain_seconds, 1.0)


class Service:
    """One running service. `stop()` asks it to drain, a second `stop()` to hurry; `exit_code` says how it ended."""

    def __init__(self, kit: Kit[Any], spec: ServiceSpec, identity: IdentitySource | None = None) -> None:
        self.kit = kit
        self.spec = spec
        self.port = 0
        self.exit_code = EXIT_DRAINED
        self.stopped = False
        names = [registration.full_name for registration in spec.servicers]
        ready = Group(["", *names], spec.ready)
        durable = Check("durability", kit.check_durability)
        entries = Group([f"{name}/entries" for name in names], [*spec.entries, durable], needs=ready)
        others = [Group([f"{name}/{key}" for name in names], checks) for key, checks in spec.others.items()]
        groups = [ready, entries, *others]
        self.health = HealthServicer([LIVE, *(name for group in groups for name in group.names)])
        self._poller = HealthPoller(self.health, groups, kit.log)
        self._server = servers.build_server(kit, spec, self.health, identity or kit.identity.source)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Begins to drain; called again, ends at once."""
        if self._stop.is_set():
            self.kit.log.warning("stopping_at_once")
            self._hurry.set()
        self._stop.set()

    async def run(self, started: Callable[[Service], None] | None = None) -> int:
        """Serves until stopped or until a task of its own fails; gives the exit code."""
        settings = self.kit.settings
        certificates = self.kit.identity.certificates
        credentials = certificates.server_credentials(self._unreadable) if certificates is not None else None
        self.port = servers.bind(self._server, settings.mesh_bind, settings.port, credentials)
        await self._server.start()
        self.health.set(LIVE, True)
        if settings.metrics_port:
            self.kit.telemetry.serve_metrics(settings.mesh_bind, settings.metrics_port)
        own = [Task("health", self._poller.run), Task("notifications", self.kit.notifications.run)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._owned(task), name=task.name) for task in [*own, *self.spec.background]]
            self.kit.log.info("started", port=self.port)
            if started is not None:
                started(self)
            await self._stop.wait()
            await self._drain(tasks)
        await self._close()
        self.stopped = True
        self.kit.log.info("stopped", exit_code=self.exit_code)
        return self.exit_code

    def _unreadable(self, reason: str) -> None:
        self.kit.log.error("certificate_not_renewed", reason=reason)

    async def _owned(self, task: Task) -> None:
        """A task that ends by itself leaves a service that looks alive and is not; so the whole process ends."""
        try:
            await task.run()
            self.kit.log.error("background_task_ended", task=task.name)
        except Exception as error:
            self.kit.log.error("background_task_failed", task=task.name, exc_info=error)
        self.exit_code = EXIT_FAILED
        self._stop.set()

    async def _drain(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        settings = self.kit.settings
        self.kit.log.info("draining", grace_seconds=settings.drain_seconds)
        self.kit.draining.set()
        self.health.shut()
        self.kit.notifications.wake_all()
        try:
            async with asyncio.timeout(settings.drain_notice_seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass
        await self._act("on_drain", self.spec.on_drain)
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=settings.drain_seconds)
        self.health.end_watches()
        await servers.stop(self._server, settings.drain_seconds, self._hurry)
        await self._cancel_again(left)

    async def _cancel_again(self, tasks: set[asyncio.Task[None]]) -> None:
        """A task that lives on was kept by something that took its cancellation for its own, as `asyncio.wait_for` of Python
        3.11 may, or cleans up for longer than there is time."""
        while left := {task for task in tasks if not task.done()}:
            self.kit.log.error("background_tasks_live_on", tasks=sorted(task.get_name() for task in left))
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=max(self.kit.settings.drain_seconds, 1.0))

    async def _close(self) -> None:
        left = await self.kit.finish_critical(max(self.kit.settings.drain_seconds, 1.0))
        if left:
            self.kit.log.error("critical_tasks_unfinished", count=left)
            self.exit_code = EXIT_FAILED
        await self._act("on_stop", self.spec.on_stop)
        await self.kit.close()

    async def _act(self, name: str, action: Action | None) -> None:
        """A hook that fails or hangs must not keep the process from ending."""
        if action is None:
            return
        try:
            async with asyncio.timeout(max(self.kit.settings.drain_seconds, 1.0)):
                await action()
        except Exception as error:
            self.kit.log.error("hook_failed", hook=name, exc_info=error)
            self.exit_code = EXIT_FAILED


async def create(settings: S, build: Build[S], *, identity: IdentitySource | None = None) -> Service:
    """The service `build` describes, with a kit of its own, not yet running."""
    kit = Kit(settings)
    try:
        built = build(settings, kit)
        spec = await built if inspect.isawaitable(built) else built
        return Service(kit, spec, identity)
    except BaseException:
        await kit.close()
        raise


async def run(
    settings: S,
    build: Build[S],
    *,
    identity: IdentitySource | None = None,
    started: Callable[[Service], None] | None = None,
) -> int:
    """Builds and runs a service; a configuration fault prints its words and gives exit code 2."""
    service: Service | None = None
    try:
        service = await create(settings, build, identity=identity)
        return await service.run(started)
    except Misconfigured as error:
        from meshkit.logging import logger

        logger(settings.service_name).error("misconfigured", fault=error.message)
        if service is not None:
            await service.kit.close()
        return EXIT_MISCONFIGURED
