"""MonitorService: parse, decide, store, answer. The status comes from memory, so it needs no database."""

import asyncio
from collections.abc import AsyncIterator

from meshkit import paging
from meshkit.grpc_types import ServicerContext
from meshkit.kit import Kit
from schema.requests import once, request_key
from svc_monitor import store, wire
from svc_monitor.alert_manager import AlertManager
from svc_monitor.alerts import Alert
from svc_monitor.board import Board
from svc_monitor.pulse import Pulse
from svc_monitor.settings import MonitorSettings
from tradekit.wire import draining_message, heartbeat_message
from trading.monitor.v1 import monitor_service_pb2 as pb
from trading.monitor.v1 import monitor_service_pb2_grpc as pb_grpc

HEARTBEAT_SECONDS = 5.0
# A draining server must not wait for the next heartbeat of an idle watch.
_DRAIN_LOOK_SECONDS = 0.5


class MonitorServicer(pb_grpc.MonitorServiceServicer):
    """The RPCs of the monitor."""

    def __init__(
        self,
        settings: MonitorSettings,
        kit: Kit[MonitorSettings],
        board: Board,
        alert_manager: AlertManager,
        pulse: Pulse,
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._board = board
        self._alert_manager = alert_manager
        self._pulse = pulse

    def _status(self) -> pb.GetStatusResponse:
        return wire.status_message(self._board.services(), self._alert_manager.raised())

    async def GetStatus(self, request: pb.GetStatusRequest, context: ServicerContext) -> pb.GetStatusResponse:
        """Everything as it stands."""
        return self._status()

    async def WatchStatus(
        self, request: pb.WatchStatusRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchStatusResponse]:
        """The status now and at every change; one frame carries all changes since the last."""
        loop = asyncio.get_running_loop()
        seen, last_sign = -1, 0.0
        while not self._kit.draining.is_set():
            newest = self._pulse.count
            if newest != seen:
                yield pb.WatchStatusResponse(status=self._status())
                seen, last_sign = newest, loop.time()
            elif loop.time() - last_sign >= HEARTBEAT_SECONDS:
                yield pb.WatchStatusResponse(heartbeat=heartbeat_message(self._kit.clock.now(), 0))
                last_sign = loop.time()
            await self._pulse.after(seen, _DRAIN_LOOK_SECONDS)
        yield pb.WatchStatusResponse(draining=draining_message())

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: ServicerContext) -> pb.ListAlertsResponse:
        """A page, newest first."""
        wanted = wire.parse_list(request)
        async with self._kit.autocommit.connect() as connection:
            found = await store.list_alerts(connection, wanted.raised, wanted.before, wanted.page.size + 1)
        token = ""
        if len(found) > wanted.page.size:
            found = found[: wanted.page.size]
            token = paging.encode(wire.position_of(found[-1]), scope=wire.list_scope(request))
        return pb.ListAlertsResponse(alerts=[wire.alert_message(alert) for alert in found], next_page_token=token)

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: ServicerContext
    ) -> pb.AcknowledgeAlertResponse:
        """Notes who has seen an alert; the same request_id gives the stored answer."""
        wanted = wire.parse_acknowledge(request)
        key = request_key(self._settings.service_name, "AcknowledgeAlert", wanted.request_id, request)
        await self._alert_manager.write_pending()
        noted: list[Alert] = []
        async with self._kit.engine.begin() as connection:

            async def acknowledge() -> pb.AcknowledgeAlertResponse:
                noted.append(
                    await self._alert_manager.acknowledge(connection, wanted.alert_id, key.caller, wanted.note)
                )
                return pb.AcknowledgeAlertResponse(alert=wire.alert_message(noted[0]))

            answer, _ = await once(connection, key, pb.AcknowledgeAlertResponse, acknowledge)
        for alert in noted:
            self._alert_manager.noted(alert)
        return answer
