"""What a service tells the kit about itself: its servicers, its own tasks, and what must be true for it to serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Action = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Registration:
    """A servicer with its generated `add_X_to_server` and full service name such as `trading.risk.v1.RiskService`."""

    add: Callable[[Any, Any], None]
    servicer: object
    full_name: str


@dataclass(frozen=True, slots=True)
class Task:
    """Work beside the calls. It must not end by itself: an end or an exception ends the process with exit code 1."""

    name: str
    run: Action


@dataclass(frozen=True, slots=True)
class Check:
    """A condition; it fails by raising, and what it raises goes into the log only."""

    name: str
    run: Action


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The whole of a service. `ready` decides "" and the full names; `entries` decides full name + "/entries", and each of
    `others` full name + "/" + its key, which nothing else depends on."""

    servicers: Sequence[Registration]
    background: Sequence[Task] = ()
    ready: Sequence[Check] = ()
    entries: Sequence[Check] = ()
    others: Mapping[str, Sequence[Check]] = field(default_factory=dict)
    on_drain: Action | None = None
    on_stop: Action | None = None
