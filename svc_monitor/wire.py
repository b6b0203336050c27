"""Messages ⇄ domain types of the monitor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshkit.fields import Fields, Page
from svc_monitor.alerts import Alert
from svc_monitor.health import ServiceHealth
from tradekit import wire
from trading.monitor.v1 import monitor_service_pb2 as pb

_RAISED = {pb.ALERT_STATE_UNSPECIFIED: None, pb.ALERT_STATE_RAISED: True, pb.ALERT_STATE_RESOLVED: False}


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """A parsed ListAlertsRequest; `raised` None means all."""

    raised: bool | None
    before: tuple[datetime, UUID] | None
    page: Page


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A parsed AcknowledgeAlertRequest."""

    request_id: UUID
    alert_id: UUID
    note: str


def list_scope(request: pb.ListAlertsRequest) -> str:
    """What a page token of this query is bound to."""
    return f"alerts|{request.state}"


def parse_list(request: pb.ListAlertsRequest) -> AlertFilter:
    """The filter and page, or InvalidRequest."""
    fields = Fields()
    fields.check(
        "state",
        request.state in _RAISED,
        "ENUM",
        f"is {request.state}; must be ALERT_STATE_RAISED, ALERT_STATE_RESOLVED or unspecified",
    )
    page = fields.page(request.page_size, request.page_token, default=100, maximum=1000, scope=list_scope(request))
    before = fields.parse("page_token", page.position, _position, None, rule="INVALID_POSITION")
    fields.done()
    return AlertFilter(_RAISED[request.state], before, page)


def position_of(alert: Alert) -> dict[str, str | int]:
    """Where a page that ends with this alert is continued."""
    return {"at": alert.raised_at.isoformat(), "id": str(alert.alert_id)}


def _position(position: dict[str, str | int] | None) -> tuple[datetime, UUID] | None:
    if position is None:
        return None
    try:
        moment, alert_id = datetime.fromisoformat(str(position["at"])), UUID(str(position["id"]))
    except KeyError as error:
        raise ValueError("it has no position of an alert; begin without one") from error
    if moment.tzinfo is None:
        raise ValueError("its time has no zone; begin without one")
    return moment, alert_id


def parse_acknowledge(request: pb.AcknowledgeAlertRequest) -> Acknowledgement:
    """The acknowledgement, or InvalidRequest with every violation."""
    fields = Fields()
    found = Acknowledgement(
        request_id=fields.uuid("request_id", request.request_id),
        alert_id=fields.uuid("alert_id", request.alert_id),
        note=fields.text("note", request.note, min_length=0, max_length=200),
    )
    fields.done()
    return found


def status_message(services: Sequence[ServiceHealth], alerts: Sequence[Alert]) -> pb.GetStatusResponse:
    """The status."""
    return pb.GetStatusResponse(
        services=[health_message(health) for health in services],
        alerts=[alert_message(alert) for alert in alerts],
        healthy=all(health.healthy for health in services),
    )


def health_message(health: ServiceHealth) -> pb.ServiceHealth:
    """One service's health."""
    message = pb.ServiceHealth(
        service=health.service.name,
        address=health.address,
        state=wire.enum_number("SERVICE_STATE", health.own.state, pb.ServiceState),
        entries_state=wire.enum_number("SERVICE_STATE", health.entries.state, pb.ServiceState),
        detail=health.own.detail or health.entries.detail,
    )
    if health.changed_at is not None:
        message.change_time.CopyFrom(wire.timestamp_message(health.changed_at))
    if health.seen_at is not None:
        message.seen_time.CopyFrom(wire.timestamp_message(health.seen_at))
    return message


def alert_message(alert: Alert) -> pb.Alert:
    """One alert."""
    state = pb.ALERT_STATE_RAISED if alert.resolved_at is None else pb.ALERT_STATE_RESOLVED
    message = pb.Alert(
        alert_id=str(alert.alert_id),
        code=alert.code,
        scope=alert.scope,
        severity=wire.enum_number("SEVERITY", alert.severity, pb.Severity),
        state=state,
        message=alert.message,
        raise_time=wire.timestamp_message(alert.raised_at),
        acknowledged_by=alert.acknowledged_by,
    )
    if alert.resolved_at is not None:
        message.resolve_time.CopyFrom(wire.timestamp_message(alert.resolved_at))
    if alert.acknowledged_at is not None:
        message.acknowledge_time.CopyFrom(wire.timestamp_message(alert.acknowledged_at))
    return message
