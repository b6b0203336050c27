"""The HTTP server of the page: the page, its state, its pushes, acknowledgements, stories, health and metrics.

It shows what is known and never waits for anybody to know it; only a story and an acknowledgement ask somebody else.
"""

import json
import socket
from typing import Any
from uuid import UUID

from aiohttp import web

from meshkit import connections
from meshkit.errors import InvalidRequest, Misconfigured, Violation
from meshkit.fields import Fields
from meshkit.kit import Kit
from svc_monitor.alert_manager import AlertManager
from svc_monitor.health import ServiceState
from svc_monitor.page import explain
from svc_monitor.page.encode import dumps
from svc_monitor.page.events import Broadcast
from svc_monitor.page.guard import STATIC, add_headers, only_own_host, refuse_foreign, require_caller, tell_errors
from svc_monitor.page.metrics import MeshCollector
from svc_monitor.page.snapshot import Snapshots, alert_json, document
from svc_monitor.settings import MonitorSettings
from tradekit import services

ACKNOWLEDGE = f"/{services.MONITOR.full_name}/AcknowledgeAlert"
_LARGEST_BODY = 4096
_SHUTDOWN_SECONDS = 1.0


class PageServer:
    """The page on a port of its own; the port is taken when this is made, so that a taken port is reported at once."""

    def __init__(
        self, settings: MonitorSettings, kit: Kit[Any], snapshots: Snapshots, alert_manager: AlertManager
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._snapshots = snapshots
        self._alert_manager = alert_manager
        self._broadcast = Broadcast(snapshots, kit.draining)
        self._socket = _bind(settings.mesh_bind, settings.monitor_page_port)
        self._listening = False
        kit.telemetry.registry.register(MeshCollector(snapshots, kit.clock))

    async def check(self) -> None:
        """A health check: the page is served."""
        if not self._listening:
            raise RuntimeError("the page is not served yet")

    async def run(self) -> None:
        """Serves until cancelled."""
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            keepalive_timeout=connections.IDLE_SECONDS,
        )
        await runner.setup()
        try:
            async with connections.listening(runner, self._socket):
                self._listening = True
                host, port = self._socket.getsockname()[:2]
                self._kit.log.info("page_started", url=f"http://{host}:{port}/")
                await self._broadcast.run()
        finally:
            self._listening = False
            await runner.cleanup()

    def _application(self) -> web.Application:
        middlewares = [only_own_host(self._settings.mesh_bind), tell_errors(self._kit.log)]
        application = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
        application.on_response_prepare.append(add_headers)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/api/state", self._state),
                web.get("/api/events", self._broadcast.serve),
                web.get("/api/explain/{recommendation_id}", self._explain),
                web.post("/api/alerts/{alert_id}/acknowledge", self._acknowledge),
                web.get("/health", self._health),
                web.get("/health/{service}", self._health_of),
                web.get("/metrics", self._metrics),
                web.static("/static", STATIC),
            ]
        )
        return application

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _state(self, request: web.Request) -> web.Response:
        return _json(document(self._snapshots.now(), self._snapshots.sections()))

    async def _explain(self, request: web.Request) -> web.Response:
        wanted = _uuid(request, "recommendation_id")
        target = self._settings.address(services.ORCHESTRATOR)
        channel = self._kit.channel(target, services.ORCHESTRATOR.full_name)
        return _json(dumps(await explain.story(channel, wanted)))

    async def _acknowledge(self, request: web.Request) -> web.Response:
        refuse_foreign(request)
        identity = self._kit.identity
        caller = require_caller(request, identity.page or identity.source, ACKNOWLEDGE)
        wanted = _uuid(request, "alert_id")
        note = _note(await request.text())
        await self._alert_manager.write_pending()
        async with self._kit.engine.begin() as connection:
            alert = await self._alert_manager.acknowledge(connection, wanted, caller.name, note)
        self._alert_manager.noted(alert)
        return _json(alert_json(alert))

    async def _health(self, request: web.Request) -> web.Response:
        """503 while any service does not serve; closed entries are shown, and are no outage."""
        health = self._snapshots.board.services()
        down = [one.service.name for one in health if one.own.state is not ServiceState.SERVING]
        closed = [one.service.name for one in health if not one.healthy]
        found = {
            "status": "down" if down else "entries_closed" if closed else "ok",
            "services": {
                one.service.name: {"state": one.own.state, "entries": one.entries.state, "seen_at": one.seen_at}
                for one in health
            },
            "database": "up" if self._snapshots.journal.database_up else "down",
        }
        return _json(dumps(found), 503 if down else 200)

    async def _health_of(self, request: web.Request) -> web.Response:
        name = request.match_info["service"]
        for one in self._snapshots.board.services():
            if one.service.name == name:
                found = {"state": one.own.state, "entries": one.entries.state, "seen_at": one.seen_at}
                return _json(dumps(found), 200 if one.own.state is ServiceState.SERVING else 503)
        raise web.HTTPNotFound(text="There is no such service.")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._kit.telemetry.prometheus_text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


def _bind(address: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=64)
    except OSError as error:
        raise Misconfigured(
            f"cannot bind the page to {address}:{port} ({error.strerror}); free it or set MONITOR_PAGE_PORT"
        ) from error


def _uuid(request: web.Request, name: str) -> UUID:
    fields = Fields()
    found = fields.uuid(name, request.match_info[name])
    fields.done()
    return found


def _note(body: str) -> str:
    """The note of a body such as {"note": "seen"}."""
    try:
        given = json.loads(body or "{}")
        text = given.get("note", "")
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InvalidRequest([Violation("body", "JSON", 'must be an object such as {"note": "seen"}')]) from None
    fields = Fields()
    note = fields.text("note", text, min_length=0, max_length=200)
    fields.done()
    return note


def _json(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
