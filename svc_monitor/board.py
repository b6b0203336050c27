"""The board: health of every name as it stands now, and its subscribers.

One room of state that the watcher writes and everybody else reads; each change is logged once and handed to the journal.
"""

from collections.abc import Callable
from typing import Any

from meshkit.kit import Kit
from svc_monitor import health
from svc_monitor.health import Change, Known, ServiceHealth, ServiceState
from svc_monitor.pulse import Pulse
from svc_monitor.settings import MonitorSettings
from tradekit import services
from tradekit.services import ServiceName


class Board:
    """Health by name. The monitor's own state is that it is here to be asked."""

    def __init__(self, settings: MonitorSettings, kit: Kit[Any], pulse: Pulse, told: Callable[[Change], None]) -> None:
        self._clock = kit.clock
        self._log = kit.log
        self._pulse = pulse
        self._told = told
        self._addresses = {service.name: settings.address(service) for service in services.SERVICES}
        self._known: dict[str, Known] = {}
        for name in health.health_names(services.MONITOR):
            self.answered(services.MONITOR, name, ServiceState.SERVING, "")

    def services(self) -> tuple[ServiceHealth, ...]:
        """Every service as it stands; the monitor itself is seen now."""
        for name in health.health_names(services.MONITOR):
            self.answered(services.MONITOR, name, ServiceState.SERVING, "")
        return health.overview(self._known, self._addresses)

    def answered(self, service: ServiceName, name: str, state: ServiceState, detail: str) -> None:
        """An answer under a health name."""
        known = self._known.get(name, Known())
        steady = self._clock.monotonic()
        self._put(service, name, known, health.answered(known, state, detail, self._clock.now(), steady))

    def refused(self, service: ServiceName, name: str, detail: str) -> None:
        """Nobody accepted the connection."""
        known = self._known.get(name, Known())
        self._put(service, name, known, health.refused(known, detail, self._clock.now()))

    def listened(self, service: ServiceName, name: str, silence_seconds: float) -> None:
        """Nothing was heard just now."""
        known = self._known.get(name, Known())
        steady = self._clock.monotonic()
        self._put(service, name, known, health.listened(known, silence_seconds, self._clock.now(), steady))

    def _put(self, service: ServiceName, name: str, before: Known, after: Known) -> None:
        self._known[name] = after
        if after.state is before.state or after.changed_at is None:
            return
        self._told(Change(service.name, name, before.state, after.state, after.detail, after.changed_at))
        write = self._log.info if after.state is ServiceState.SERVING else self._log.warning
        write(
            "health_changed",
            of=service.name,
            name=name,
            from_state=before.state.value,
            to_state=after.state.value,
            detail=after.detail,
        )
        self._pulse.beat()
