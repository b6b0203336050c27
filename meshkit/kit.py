"""The kit a service is built with: settings, log, clock, database, channels, notifications, telemetry of one process.

One Kit per process, made inside the running loop; everything it opens it closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import grpc
from opentelemetry.trace import Tracer
from sqlalchemy.ext.asyncio import AsyncEngine

from meshkit import channel, database, logging
from meshkit.clock import Clock, SystemClock
from meshkit.dedicated import Dedicated
from meshkit.errors import Misconfigured
from meshkit.identity import identity_of
from meshkit.notify import Notifications
from meshkit.settings import KitSettings
from meshkit.telemetry import Metrics, Telemetry

T = TypeVar("T")
S = TypeVar("S", bound=KitSettings)


class Kit(Generic[S]):
    """What every room of a service may use. `draining` is set when the process begins to go away."""

    def __init__(self, settings: S, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.identity = identity_of(settings)
        self.clock: Clock = clock or SystemClock()
        self.log = logging.logger(settings.service_name)
        self.telemetry = Telemetry(settings)
        self.draining = asyncio.Event()
        self.notifications = Notifications(lambda: database.connect(settings), self.log)
        self._engine: AsyncEngine | None = None
        self._autocommit: AsyncEngine | None = None
        self._probe = database.Probe(settings)
        self._dedicated: list[Dedicated] = []
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}
        self._critical: set[asyncio.Task[Any]] = set()

    @property
    def tracer(self) -> Tracer:
        return self.telemetry.tracer

    @property
    def metrics(self) -> Metrics:
        return self.telemetry.metrics

    @property
    def engine(self) -> AsyncEngine:
        """The process's database engine; made at first use, connects at first query."""
        if self._engine is None:
            self._engine = database.create_engine(self.settings)
        return self._engine

    @property
    def autocommit(self) -> AsyncEngine:
        """The same connections, each statement a transaction of its own: no BEGIN before and no COMMIT after. What must be of
        one moment, or stored together, is one statement or a transaction of `engine`."""
        if self._autocommit is None:
            self._autocommit = database.autocommit(self.engine)
        return self._autocommit

    def dedicated(self) -> Dedicated:
        """A connection of its own, outside of the pool, for a room whose statements every order waits for."""
        self._dedicated.append(Dedicated(self.settings))
        return self._dedicated[-1]

    async def check_database(self) -> None:
        """A health check for `ready`: the database answers. It has a connection of its own beside the pool."""
        await self._probe.check()

    async def check_durability(self) -> None:
        """A health check of entries: as far as `check_database` has seen, what the database stored stays stored."""
        if self._probe.broken_promises:
            raise Misconfigured(self._probe.broken_promises)

    def channel(self, target: str, full_name: str) -> grpc.aio.Channel:
        """The process's channel to one service at one target; every caller shares it."""
        key = (target, full_name)
        if key not in self._channels:
            self._channels[key] = channel.open_channel(target, full_name, self.telemetry, self.identity)
        return self._channels[key]

    async def critical(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs to its end even if the caller is cancelled; shutdown waits for it. For effects that must be recorded."""
        task = asyncio.ensure_future(coroutine)
        self._critical.add(task)
        task.add_done_callback(self._critical_done)
        return await asyncio.shield(task)

    def _critical_done(self, task: asyncio.Task[Any]) -> None:
        self._critical.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The caller may be gone, so this may be the only place where the failure is seen.
            self.log.warning("critical_task_failed", error=type(error).__name__, detail=str(error))

    async def finish_critical(self, timeout: float) -> int:
        """Waits for critical tasks; gives the number still running after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self._critical and loop.time() < end:
            await asyncio.wait(set(self._critical), timeout=end - loop.time())
        return len(self._critical)

    async def close(self) -> None:
        """Closes channels, database and telemetry, in this order."""
        for opened in self._channels.values():
            await opened.close(grace=1.0)
        self._channels.clear()
        for one in self._dedicated:
            await one.close()
        if self._engine is not None:
            await self._engine.dispose()
        await self._probe.close()
        await asyncio.to_thread(self.telemetry.close)
