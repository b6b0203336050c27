"""The alert manager: looks at everything once a second, raises and resolves, and takes acknowledgements.

It works without the database; only an acknowledgement needs it, because that is an operator's word and must not be lost.
"""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import NotFound
from meshkit.kit import Kit
from svc_monitor import store
from svc_monitor.alerts import ActiveAlerts, Alert, acknowledged, adopt, advance
from svc_monitor.board import Board
from svc_monitor.feeds.all import Feeds
from svc_monitor.health import starting
from svc_monitor.journal import Journal
from svc_monitor.pulse import Pulse
from svc_monitor.rules import judge
from svc_monitor.seen import Seen
from svc_monitor.settings import MonitorSettings
from tradekit.states import ProtectionMode

_INTERVAL_SECONDS = 1.0


class AlertManager:
    """Alerts in force, and the task that keeps them true."""

    def __init__(
        self, settings: MonitorSettings, kit: Kit[Any], board: Board, feeds: Feeds, journal: Journal, pulse: Pulse
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._board = board
        self._feeds = feeds
        self._journal = journal
        self._pulse = pulse
        self._book = ActiveAlerts()
        journal.adopt = self._adopt

    def raised(self) -> tuple[Alert, ...]:
        """Alerts in force, newest first."""
        return tuple(sorted(self._book.raised.values(), key=lambda alert: alert.raised_at, reverse=True))

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            self.check()
            await asyncio.sleep(_INTERVAL_SECONDS)

    def check(self) -> None:
        """One look: what changed is logged and handed to the journal."""
        clock = self._kit.clock
        verdicts = judge(self._seen(clock.monotonic()))
        self._book, changed = advance(self._book, verdicts, clock.now(), clock.monotonic(), uuid4)
        for alert in changed:
            self._journal.put(alert)
            self._tell(alert)
        if changed:
            self._pulse.beat()

    def _seen(self, steady: float) -> Seen:
        services = self._board.services()
        return Seen(
            services=services,
            starting=starting(services, steady),
            database_up=self._journal.database_up,
            bar_seconds=self._settings.granularity_seconds,
            protects=self._settings.protective_exits is not ProtectionMode.OFF,
            pipeline=self._feeds.pipeline.fresh,
            risk=self._feeds.risk.fresh,
            trading=self._feeds.trading.fresh,
            exits=self._feeds.exits.fresh,
            model=self._feeds.model.fresh,
            reviewer=self._feeds.reviewer.fresh,
            ledger=self._feeds.ledger.fresh,
            match=self._feeds.match.fresh,
        )

    def _tell(self, alert: Alert) -> None:
        resolved = alert.resolved_at is not None
        known = {"code": alert.code, "scope": alert.scope, "severity": alert.severity.value, "alert_id": alert.alert_id}
        write = self._kit.log.info if resolved else self._kit.log.warning
        write("alert_resolved" if resolved else "alert_raised", message=alert.message, **known)

    def _adopt(self, stored: tuple[Alert, ...]) -> None:
        self._book = adopt(self._book, stored)
        self._pulse.beat()

    async def write_pending(self) -> None:
        """What was just raised must be stored before it can be acknowledged."""
        await self._journal.write()

    async def acknowledge(self, connection: AsyncConnection, alert_id: UUID, by: str, note: str) -> Alert:
        """Stores an acknowledgement; `noted` must follow its commit. NotFound if there is no such alert."""
        alert = await store.acknowledge(connection, alert_id, by, note)
        if alert is None:
            raise NotFound("alert", alert_id)
        return alert

    def noted(self, alert: Alert) -> None:
        """The acknowledgement is committed."""
        self._book = acknowledged(self._book, alert)
        self._kit.log.info("alert_acknowledged", code=alert.code, scope=alert.scope, by=alert.acknowledged_by)
        self._pulse.beat()
