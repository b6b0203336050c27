"""Alerts: how a condition that is true now becomes something raised once, and resolved when it is no longer true.

Pure: `advance` is a function of the active alerts, what the rules say and the time. A rule that cannot tell (its source
is silent) leaves its alerts as they stand: not knowing is no all-clear.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

Key = tuple[str, str]


class Severity(StrEnum):
    """How soon somebody should look."""

    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that is true now; it becomes an alert when it stays true for `hold_seconds`."""

    code: str
    scope: str
    severity: Severity
    message: str
    hold_seconds: float = 0.0

    @property
    def key(self) -> Key:
        return self.code, self.scope


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody should know; raised until it is resolved, acknowledged at most once."""

    alert_id: UUID
    code: str
    scope: str
    severity: Severity
    message: str
    raised_at: datetime
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""

    @property
    def key(self) -> Key:
        return self.code, self.scope


@dataclass(frozen=True, slots=True)
class ActiveAlerts:
    """Alerts in force by what they are about, and since when (steady seconds) a condition waits to become one."""

    raised: Mapping[Key, Alert] = field(default_factory=dict)
    waiting: Mapping[Key, float] = field(default_factory=dict)


# Findings of one rule by its code; None where the rule cannot tell.
Verdicts = Mapping[str, tuple[Finding, ...] | None]


def advance(
    active: ActiveAlerts, verdicts: Verdicts, now: datetime, steady: float, new_id: Callable[[], UUID]
) -> tuple[ActiveAlerts, tuple[Alert, ...]]:
    """The active alerts after this look, and the alerts that changed: raised, resolved, or with new words."""
    blind = {code for code, findings in verdicts.items() if findings is None}
    found = {finding.key: finding for findings in verdicts.values() for finding in findings or ()}
    waiting = {key: active.waiting.get(key, steady) for key in found if key not in active.raised}
    raised: dict[Key, Alert] = {}
    changed: list[Alert] = []
    for key, alert in active.raised.items():
        if key in found:
            raised[key] = replace(alert, message=found[key].message, severity=found[key].severity)
            changed += [raised[key]] if raised[key] != alert else []
        elif alert.code in blind:
            raised[key] = alert
        else:
            changed.append(replace(alert, resolved_at=now))
    for key, since in list(waiting.items()):
        finding = found[key]
        if steady - since >= finding.hold_seconds:
            del waiting[key]
            raised[key] = Alert(new_id(), finding.code, finding.scope, finding.severity, finding.message, now)
            changed.append(raised[key])
    kept = {key: since for key, since in active.waiting.items() if key[0] in blind}
    return ActiveAlerts(raised, {**kept, **waiting}), tuple(changed)


def adopt(active: ActiveAlerts, stored: tuple[Alert, ...]) -> ActiveAlerts:
    """The active alerts with the alerts that an earlier process raised and never resolved; the stored one is the alert."""
    return replace(active, raised={**active.raised, **{alert.key: alert for alert in stored}})


def acknowledged(active: ActiveAlerts, alert: Alert) -> ActiveAlerts:
    """The active alerts after an alert was acknowledged in the store."""
    mine = active.raised.get(alert.key)
    if mine is None or mine.alert_id != alert.alert_id:
        return active
    told = replace(mine, acknowledged_at=alert.acknowledged_at, acknowledged_by=alert.acknowledged_by)
    return replace(active, raised={**active.raised, alert.key: told})
