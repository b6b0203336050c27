"""The journal: health changes and alerts wait here, bounded, until the database has them.

The monitor must outlive its database: nothing that watches or shows ever waits for a write, and an outage costs at most
the oldest changes, which are counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from meshkit import database
from meshkit.errors import Misconfigured
from meshkit.kit import Kit
from schema.presence import schema_check
from svc_monitor import store
from svc_monitor.alerts import Alert
from svc_monitor.health import Change

_INTERVAL_SECONDS = 1.0
LARGEST_BACKLOG = 1000


class Journal:
    """Buffers and writes; `adopted` is called once with the alerts that an earlier process left raised."""

    def __init__(self, kit: Kit[Any], backlog: int = LARGEST_BACKLOG) -> None:
        self._kit = kit
        self._schema = schema_check(kit)
        self._backlog = backlog
        self._changes: deque[Change] = deque()
        self._alerts: dict[UUID, Alert] = {}
        self._lock = asyncio.Lock()
        self._loaded = False
        self.adopt: Callable[[tuple[Alert, ...]], None] = lambda stored: None
        self.database_up = True
        self.dropped = 0

    def note(self, change: Change) -> None:
        """Keeps a change of health until it is written."""
        self._changes.append(change)
        while len(self._changes) > self._backlog:
            self._changes.popleft()
            self.dropped += 1

    def put(self, alert: Alert) -> None:
        """Keeps the newest form of an alert until it is written."""
        # Moved to the end: alerts are written in the order in which they last changed.
        self._alerts.pop(alert.alert_id, None)
        self._alerts[alert.alert_id] = alert
        while len(self._alerts) > self._backlog:
            self._alerts.pop(next(iter(self._alerts)))
            self.dropped += 1

    async def run(self) -> None:
        """Writes what there is, every second, for ever."""
        while True:
            try:
                await self.write()
            except IntegrityError:
                # Another monitor raised the same alert first, as while one replaces the other: take over its alerts.
                self._loaded = False
            except Exception as error:
                # A database that may lose what it stored is no reason to watch nothing: an operator has to mend it meanwhile.
                outage = error if isinstance(error, Misconfigured) else database.as_unavailable(error)
                if outage is None:
                    raise
                if self.database_up:
                    self._kit.log.warning("journal_waits", reason=outage.message)
                self.database_up = False
            else:
                if not self.database_up:
                    self._kit.log.info("journal_writes_again", dropped=self.dropped)
                self.database_up = True
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def write(self) -> None:
        """Writes everything that waits, in one transaction; Unavailable if the database does not answer or is not migrated,
        Misconfigured while it may lose what it stored: then nothing is written, or each write would look like the end of an
        outage."""
        async with self._lock:
            await self._kit.check_database()
            await self._schema.run()
            if not self._loaded:
                await self._load()
            changes, alerts = list(self._changes), list(self._alerts.values())
            if not changes and not alerts:
                return
            async with self._kit.engine.begin() as connection:
                await store.insert_changes(connection, changes)
                await store.put_alerts(connection, alerts)
            self._forget(changes, alerts)

    async def _load(self) -> None:
        async with self._kit.autocommit.connect() as connection:
            stored = await store.raised_alerts(connection)
        # One that was raised here before the database answered is the same alert as the stored one.
        about = {alert.key for alert in stored}
        self._alerts = {id: alert for id, alert in self._alerts.items() if alert.key not in about}
        self.adopt(stored)
        self._loaded = True

    def _forget(self, changes: list[Change], alerts: list[Alert]) -> None:
        """What came meanwhile stays."""
        written = {id(change) for change in changes}
        self._changes = deque(change for change in self._changes if id(change) not in written)
        for alert in alerts:
            if self._alerts.get(alert.alert_id) == alert:
                del self._alerts[alert.alert_id]
