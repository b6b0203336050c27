"""What the page knows now, in sections: each is JSON text, so that a client is sent only what changed.

Values and their ages are apart: an answer that changes nothing changes only its age.
"""

from typing import Any

from meshkit.kit import Kit
from svc_monitor.alert_manager import AlertManager
from svc_monitor.alerts import Alert
from svc_monitor.board import Board
from svc_monitor.feeds.all import Feeds
from svc_monitor.health import ServiceHealth
from svc_monitor.journal import Journal
from svc_monitor.page.encode import dumps
from svc_monitor.settings import MonitorSettings
from tradekit.states import Venue


class Snapshots:
    """Builds sections; a value that is still the same object is not written out again."""

    def __init__(
        self,
        settings: MonitorSettings,
        kit: Kit[Any],
        board: Board,
        alert_manager: AlertManager,
        feeds: Feeds,
        journal: Journal,
    ) -> None:
        self._clock = kit.clock
        self._mesh = {
            "venue": settings.venue,
            "profile": settings.decision_profile,
            "run_id": settings.run_id,
            "granularity_seconds": settings.granularity_seconds,
            "products": settings.products,
            "real_money": settings.venue is Venue.LIVE,
            "started_at": kit.clock.now(),
        }
        self.board = board
        self.alert_manager = alert_manager
        self.feeds = feeds
        self.journal = journal
        self._written: dict[str, tuple[Any, str]] = {}

    def now(self) -> str:
        """The moment of a snapshot, as JSON text."""
        return dumps(self._clock.now())

    def sections(self) -> dict[str, str]:
        """Every section as JSON text."""
        health = self.board.services()
        found = {
            "mesh": self._text("mesh", self._mesh),
            "health": dumps([_health(one) for one in health]),
            "alerts": dumps(self.alert_manager.raised()),
            "database": dumps({"up": self.journal.database_up, "dropped": self.journal.dropped}),
            "course": self._text("course", self.feeds.course.points),
            "ages": dumps({"feeds": self._feed_ages(), "services": {h.service.name: h.seen_at for h in health}}),
        }
        for feed in self.feeds.every():
            value = feed.value
            found[feed.name] = self._text(feed.name, list(value.values()) if isinstance(value, dict) else value, value)
        return found

    def _feed_ages(self) -> dict[str, Any]:
        return {
            feed.name: {"received_at": feed.received_at, "stale_seconds": feed.stale_seconds, "fault": feed.fault}
            for feed in self.feeds.every()
        }

    def _text(self, name: str, value: Any, identity: Any = None) -> str:
        same = value if identity is None else identity
        kept = self._written.get(name)
        if kept is None or kept[0] is not same:
            kept = (same, dumps(value))
            self._written[name] = kept
        return kept[1]


def _health(health: ServiceHealth) -> dict[str, Any]:
    return {
        "service": health.service.name,
        "address": health.address,
        "state": health.own.state,
        "entries": health.entries.state,
        "detail": health.own.detail,
        "entries_detail": health.entries.detail,
        "changed_at": health.changed_at,
    }


def document(now: str, sections: dict[str, str]) -> str:
    """Sections that are JSON text already, as one JSON object."""
    inside = ",".join(f'"{name}":{text}' for name, text in sections.items())
    return f'{{"at":{now},"sections":{{{inside}}}}}'


def alert_json(alert: Alert) -> str:
    """One alert, as the page's own calls answer it."""
    return dumps(alert)
