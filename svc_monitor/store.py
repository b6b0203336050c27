"""The SQL of the monitor: health events and alerts, which only this service writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema import streams
from schema.operations import alerts, health_events
from svc_monitor.alerts import Alert, Severity
from svc_monitor.health import Change


async def insert_changes(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Writes changes of health, in their order."""
    if changes:
        await connection.execute(
            insert(health_events),
            [
                {
                    "service": change.service,
                    "health_name": change.health_name,
                    "from_state": change.from_state.value,
                    "to_state": change.to_state.value,
                    "detail": change.detail,
                    "created_at": change.at,
                }
                for change in changes
            ],
        )


async def put_alerts(connection: AsyncConnection, changed: Sequence[Alert]) -> None:
    """Writes alerts as they stand, in the order they changed, and wakes watchers; an acknowledgement is left alone."""
    if not changed:
        return
    sequences = await streams.take_sequences(connection, streams.ALERTS, len(changed))
    for alert, sequence in zip(changed, sequences, strict=True):
        # One by one: a resolved alert must be written before the next one about the same thing is raised.
        values = {
            "code": alert.code,
            "scope": alert.scope,
            "severity": alert.severity.value,
            "message": alert.message,
            "raised_at": alert.raised_at,
            "resolved_at": alert.resolved_at,
            "sequence": sequence,
        }
        news = {name: values[name] for name in ("severity", "message", "resolved_at", "sequence")}
        await connection.execute(
            upsert(alerts)
            .values(alert_id=alert.alert_id, **values)
            .on_conflict_do_update(index_elements=[alerts.c.alert_id], set_=news)
        )
    await streams.notify(connection, streams.ALERTS)


async def raised_alerts(connection: AsyncConnection) -> tuple[Alert, ...]:
    """Alerts that were never resolved."""
    rows = await connection.execute(select(alerts).where(alerts.c.resolved_at.is_(None)))
    return tuple(alert_of(row) for row in rows.mappings())


async def acknowledge(connection: AsyncConnection, alert_id: UUID, by: str, note: str) -> Alert | None:
    """Marks an alert as seen, once: the first to acknowledge it stays. None if there is no such alert."""
    query = select(alerts).where(alerts.c.alert_id == alert_id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    if row["acknowledged_at"] is None:
        sequence = (await streams.take_sequences(connection, streams.ALERTS, 1))[0]
        changed = await connection.execute(
            update(alerts)
            .where(alerts.c.alert_id == alert_id)
            .values(acknowledged_at=func.now(), acknowledged_by=by, acknowledge_note=note, sequence=sequence)
            .returning(alerts)
        )
        row = changed.mappings().one()
        await streams.notify(connection, streams.ALERTS)
    return alert_of(row)


async def list_alerts(
    connection: AsyncConnection, raised: bool | None, before: tuple[datetime, UUID] | None, limit: int
) -> tuple[Alert, ...]:
    """Alerts, newest first; only raised or only resolved ones if asked for."""
    query = select(alerts).order_by(alerts.c.raised_at.desc(), alerts.c.alert_id.desc()).limit(limit)
    if raised is not None:
        query = query.where(alerts.c.resolved_at.is_(None) if raised else alerts.c.resolved_at.is_not(None))
    if before is not None:
        query = query.where(tuple_(alerts.c.raised_at, alerts.c.alert_id) < tuple_(*before))
    return tuple(alert_of(row) for row in (await connection.execute(query)).mappings())


def alert_of(row: RowMapping | dict[str, Any]) -> Alert:
    """The alert of a row."""
    return Alert(
        alert_id=row["alert_id"],
        code=row["code"],
        scope=row["scope"],
        severity=Severity(row["severity"]),
        message=row["message"],
        raised_at=row["raised_at"],
        resolved_at=row["resolved_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
    )
