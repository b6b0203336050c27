"""What the service says about itself, by the standard health protocol: never SERVING before its checks have passed.

Own servicer instead of the packaged one: the packaged `""` begins as SERVING, its Watch breaks interceptors that expect
generators, and open watches hold a stopping server for its whole grace.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.grpc_types import ServicerContext
from meshkit.spec import Check

INTERVAL_SECONDS = 2.0
TIMEOUT_SECONDS = 1.5
FAILURES_TO_FLIP = 2
LIVE = "live"

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Statuses by name, and watchers that receive changes until shutdown."""

    def __init__(self, names: Iterable[str]) -> None:
        self._statuses: dict[str, int] = dict.fromkeys(names, NOT_SERVING)
        self._changed = asyncio.Event()
        self._shut = False
        self._ended = False

    def set(self, name: str, serving: bool) -> bool:
        """Sets a status; True if that changed it. After shutdown began nothing changes any more."""
        status = SERVING if serving else NOT_SERVING
        if self._shut or self._statuses[name] == status:
            return False
        self._statuses[name] = status
        self._tell()
        return True

    def serving(self, name: str) -> bool:
        return self._statuses[name] == SERVING

    def shut(self) -> None:
        """NOT_SERVING for good under every name but `live`, which says that the process still works."""
        self._shut = True
        for name in self._statuses:
            if name != LIVE:
                self._statuses[name] = NOT_SERVING
        self._tell()

    def end_watches(self) -> None:
        """Lets every watcher go, so that none holds the stopping server."""
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: Any, context: ServicerContext) -> Any:
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service on this server")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        last = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, SERVICE_UNKNOWN)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            if self._ended:
                return
            if changed is self._changed:
                await changed.wait()


@dataclass(slots=True)
class Group:
    """Checks that decide one set of health names together."""

    names: Sequence[str]
    checks: Sequence[Check]
    needs: Group | None = None
    serving: bool = False
    failures: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


class HealthPoller:
    """Runs the checks for ever; two failures in a row take a service out, one success brings it back."""

    def __init__(self, servicer: HealthServicer, groups: Sequence[Group], log: Any) -> None:
        self._servicer = servicer
        self._groups = groups
        self._log = log

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await self.poll()
            await asyncio.sleep(max(INTERVAL_SECONDS - (time.monotonic() - began), 0.0))

    async def poll(self) -> None:
        """One round; a group that needs another is never better than that one."""
        faults = await asyncio.gather(*(_faults(group.checks) for group in self._groups))
        for group, found in zip(self._groups, faults, strict=True):
            group.failures = group.failures + 1 if found else 0
            if not found:
                group.serving = True
            elif group.failures >= FAILURES_TO_FLIP:
                group.serving = False
            if _without_numbers(found) != _without_numbers(group.reasons):
                group.reasons = found
                self._log.log(30 if found else 20, "health_checks", names=list(group.names), failing=found)
            serving = group.serving and (group.needs is None or group.needs.serving)
            for name in group.names:
                if self._servicer.set(name, serving):
                    self._log.info("health", name=name, status="SERVING" if serving else "NOT_SERVING")


def _without_numbers(faults: Mapping[str, str]) -> dict[str, str]:
    """A fault whose words count seconds is the same fault at the next look."""
    return {name: re.sub(r"\d+", "", words) for name, words in faults.items()}


async def _faults(checks: Sequence[Check]) -> dict[str, str]:
    """Failing checks with what they raised; all run at once, each under its own timeout."""
    results = await asyncio.gather(*(_fault(check) for check in checks))
    return {check.name: fault for check, fault in zip(checks, results, strict=True) if fault is not None}


async def _fault(check: Check) -> str | None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await check.run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:400]
    return None
