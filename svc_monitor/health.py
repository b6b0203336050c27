"""What is known of each service's health, and what an observation changes about it.

Pure: an answer, a refusal or a silence turns one `Known` into the next; a difference in state is a `Change`. Nothing is
known before the first answer, and nothing any more when a service has been silent for too long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tradekit import services
from tradekit.services import ServiceName

ENTRIES_SUFFIX = "/entries"
# The executor's word on what the exchange tells it without being asked. It has no such name where it follows no feed.
FEEDS_NAME = services.EXECUTOR.full_name + "/feeds"
# Nothing new has served for so long: whoever has not, will not by itself. A slow machine starts one service after another.
STARTUP_SECONDS = 60.0


class ServiceState(StrEnum):
    """What is known of a service, as the contract names it."""

    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    UNREACHABLE = "UNREACHABLE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Known:
    """One health name: its state, why, since when (wall time), the last answer (wall and steady time), and when it served
    for the first time (steady), None if it never has."""

    state: ServiceState = ServiceState.UNKNOWN
    detail: str = "not asked yet"
    changed_at: datetime | None = None
    seen_at: datetime | None = None
    seen_steady: float = 0.0
    served_steady: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A health name went from one state to another."""

    service: str
    health_name: str
    from_state: ServiceState
    to_state: ServiceState
    detail: str
    at: datetime


def answered(known: Known, state: ServiceState, detail: str, now: datetime, steady: float) -> Known:
    """The service said something."""
    first = steady if state is ServiceState.SERVING and known.served_steady is None else known.served_steady
    return replace(_moved(known, state, detail, now), seen_at=now, seen_steady=steady, served_steady=first)


def refused(known: Known, detail: str, now: datetime) -> Known:
    """Nobody accepts the connection."""
    return _moved(known, ServiceState.UNREACHABLE, detail, now)


def listened(known: Known, silence_seconds: float, now: datetime, steady: float) -> Known:
    """Time has passed; a state that no answer has confirmed for too long is not known any more."""
    if known.state in (ServiceState.UNREACHABLE, ServiceState.UNKNOWN) or steady - known.seen_steady <= silence_seconds:
        return known
    return _moved(known, ServiceState.UNKNOWN, f"no answer for {silence_seconds:g} s", now)


def _moved(known: Known, state: ServiceState, detail: str, now: datetime) -> Known:
    if state is known.state:
        return replace(known, detail=detail)
    return replace(known, state=state, detail=detail, changed_at=now)


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """A service with both its health names, and the third that the executor has."""

    service: ServiceName
    address: str
    own: Known
    entries: Known
    feeds: Known = field(default_factory=Known)

    @property
    def healthy(self) -> bool:
        """True if the service and its entries are SERVING."""
        return self.own.state is ServiceState.SERVING and self.entries.state is ServiceState.SERVING

    @property
    def changed_at(self) -> datetime | None:
        """The last change of either name."""
        return _later(self.own.changed_at, self.entries.changed_at)

    @property
    def seen_at(self) -> datetime | None:
        """The last answer under either name."""
        return _later(self.own.seen_at, self.entries.seen_at)


def _later(first: datetime | None, second: datetime | None) -> datetime | None:
    known = [moment for moment in (first, second) if moment is not None]
    return max(known, default=None)


def starting(seen: Sequence[ServiceHealth], steady: float) -> bool:
    """True while the mesh comes up: something has never served yet, and something else began to, not long ago."""
    first = [known.served_steady for health in seen for known in (health.own, health.entries)]
    begun = [moment for moment in first if moment is not None]
    return len(begun) < len(first) and steady - max(begun, default=steady) < STARTUP_SECONDS


def health_names(service: ServiceName) -> tuple[str, str]:
    """The service's own health name, and that of its entries."""
    return service.full_name, service.full_name + ENTRIES_SUFFIX


def watched_names(service: ServiceName) -> tuple[str, ...]:
    """Every health name of a service that is watched."""
    return (*health_names(service), *((FEEDS_NAME,) if service is services.EXECUTOR else ()))


def overview(known: Mapping[str, Known], addresses: Mapping[str, str]) -> tuple[ServiceHealth, ...]:
    """Every service in the order of the mesh, from what is known by health name."""
    return tuple(
        ServiceHealth(service, addresses[service.name], *(known.get(name, Known()) for name in watched_names(service)))
        for service in services.SERVICES
    )
