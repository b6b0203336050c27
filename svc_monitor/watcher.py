"""Watches the standard health service of all other services, and never takes silence for health.

Watch tells changes at once but nothing while all is well, so a Check every few seconds is the sign of life. A stream that
ends is opened again; only a new call that nobody accepts means UNREACHABLE, so that a server which recycles connections
does not look dead.
"""

import asyncio
import importlib
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.consumer import Consumer
from meshkit.errors import MeshError, from_rpc_error
from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.board import Board
from svc_monitor.health import ServiceState, watched_names
from svc_monitor.settings import MonitorSettings
from tradekit import services
from tradekit.services import ServiceName

OTHERS = services.MONITOR.asks_health_of
_CHECK_TIMEOUT_SECONDS = 2.0
_STATES = {
    health_pb2.HealthCheckResponse.SERVING: (ServiceState.SERVING, ""),
    health_pb2.HealthCheckResponse.NOT_SERVING: (ServiceState.NOT_SERVING, "it says NOT_SERVING"),
}
_NO_SUCH_NAME = (ServiceState.UNKNOWN, "its server has no such health name")


class Watcher:
    """A stream for each health name, and a pulse for each service."""

    def __init__(
        self,
        settings: MonitorSettings,
        kit: Kit[Any],
        board: Board,
        watched: tuple[ServiceName, ...] = OTHERS,
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._board = board
        self._watched = watched

    def tasks(self) -> list[Task]:
        """The tasks the process must own."""
        found = []
        for service in self._watched:
            found.append(Task(f"check-{service.name}", partial(self._check, service)))
            found += [Task(f"watch-{name}", self._watch(service, name).run) for name in watched_names(service)]
        return found

    def _stub(self, service: ServiceName) -> Any:
        # A channel is made from its service's contract, and of some services no feed reads anything.
        importlib.import_module(service.contract_module)
        channel = self._kit.channel(self._settings.address(service), service.full_name)
        return health_pb2_grpc.HealthStub(channel)

    def _watch(self, service: ServiceName, name: str) -> Consumer:
        """Consumes the changes of one health name; the standard service sends no heartbeats between them."""
        stub = self._stub(service)

        async def open_call() -> Any:
            return stub.Watch(health_pb2.HealthCheckRequest(service=name))

        async def take(answer: health_pb2.HealthCheckResponse) -> bool:
            self._heard(service, name, answer.status)
            return True

        def lost(error: MeshError, heard: bool) -> None:
            if not heard:
                self._failed(service, name, error)

        return Consumer(self._kit, name, open_call, take, silence_seconds=None, lost=lost)

    async def _check(self, service: ServiceName) -> None:
        """Asks every name for a sign of life for ever, and notices when none comes."""
        stub = self._stub(service)
        while True:
            async with asyncio.TaskGroup() as group:
                for name in watched_names(service):
                    group.create_task(self._ask(stub, service, name))
            await asyncio.sleep(self._settings.health_check_seconds)

    async def _ask(self, stub: Any, service: ServiceName, name: str) -> None:
        timeout = min(_CHECK_TIMEOUT_SECONDS, self._settings.health_check_seconds)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            self._failed(service, name, from_rpc_error(error))
        else:
            self._heard(service, name, answer.status)

    def _heard(self, service: ServiceName, name: str, status: int) -> None:
        self._board.answered(service, name, *_STATES.get(status, _NO_SUCH_NAME))

    def _failed(self, service: ServiceName, name: str, error: MeshError) -> None:
        if error.code is grpc.StatusCode.UNAVAILABLE:
            self._board.refused(service, name, "nobody accepts the connection")
        elif error.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
            self._board.answered(service, name, *_NO_SUCH_NAME)
        else:
            self._board.listened(service, name, self._settings.health_silence_seconds)
