"""What is stored of decisions: assessments, what they reserve, and the one statement that writes a whole batch of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, bindparam, text

from meshkit.dedicated import Connection
from schema.base import Time
from schema.requests import RequestKey
from schema.risk import risk_assessments
from svc_risk.assessments import Attempt, Decision, Reservation, StoredAssessment
from svc_risk.score import ScoreParts
from svc_risk.snapshot import inputs_to_json
from svc_risk.store import ACCOUNT_ID, lock_row
from tradekit.reasons import reasons_from_json, reasons_to_json
from tradekit.sizes import order_size
from tradekit.states import ReservationState, RiskDecision, Side

_OTHER_FORM = {"side", "decision", "requested_size", "adjusted_size", "parts", "reasons"}
_SAME = [name for name in StoredAssessment.__dataclass_fields__ if name not in _OTHER_FORM]
READ = [risk_assessments.c[name] for name in StoredAssessment.__dataclass_fields__]
# A row's columns are the table's, whatever their order; each has a value here. Nothing is written twice: under the account lock
# nobody else writes any of these.
_WRITE = text("""
    WITH expired AS (
      UPDATE risk_reservations SET state = 'EXPIRED', updated_at = :machine_time
      WHERE state = 'HELD' AND expires_at <= :machine_time
    ), claimed AS (
      INSERT INTO stored_requests
      SELECT * FROM jsonb_populate_recordset(NULL::stored_requests, CAST(:claims AS jsonb))
    ), assessed AS (
      INSERT INTO risk_assessments
      SELECT * FROM jsonb_populate_recordset(NULL::risk_assessments, CAST(:assessments AS jsonb))
    ), reserved AS (
      INSERT INTO risk_reservations
      SELECT * FROM jsonb_populate_recordset(NULL::risk_reservations, CAST(:reservations AS jsonb))
    ), locked AS (
      INSERT INTO risk_locks
      SELECT * FROM jsonb_populate_recordset(NULL::risk_locks, CAST(:locks AS jsonb))
      ON CONFLICT DO NOTHING
    )
    UPDATE accounts SET snapshot_version = snapshot_version + :decided WHERE account_id = :account AND :decided > 0
""").bindparams(bindparam("machine_time", type_=Time), bindparam("decided", type_=Integer))


def attempt_of(values: Mapping[str, Any], machine_time: datetime) -> Attempt:
    """The attempt of an assessment's columns with those of its reservation."""
    state, expires_at = values["reservation_state"], values["expires_at"]
    found = ReservationState(state) if state else None
    if found is ReservationState.HELD and expires_at <= machine_time:
        found = ReservationState.EXPIRED
    return Attempt(_assessment(values), found, expires_at)


def _assessment(values: Mapping[str, Any]) -> StoredAssessment:
    side = Side(values["side"])
    return StoredAssessment(
        **{name: values[name] for name in _SAME},
        side=side,
        decision=RiskDecision(values["decision"]),
        requested_size=order_size(side, values["requested_size"]),
        adjusted_size=order_size(side, values["adjusted_size"]),
        parts=ScoreParts(**values["parts"]),
        reasons=reasons_from_json(values["reasons"]),
    )


async def write_batch(
    connection: Connection, machine_time: datetime, claims: Sequence[RequestKey], decisions: Sequence[Decision]
) -> None:
    """Writes what a batch decided and what its request_ids stand for, and ends the reservations that are overdue."""
    reservations = [(made.assessment, made.reservation) for made in decisions if made.reservation is not None]
    given = {
        "machine_time": machine_time,
        "account": ACCOUNT_ID,
        "decided": len(decisions),
        "claims": _rows(_claim(key, machine_time) for key in claims),
        "assessments": _rows(_assessed(made) for made in decisions),
        "reservations": _rows(_reserved(*each) for each in reservations),
        "locks": _rows({**lock_row(lock), "created_at": machine_time} for made in decisions for lock in made.locks),
    }
    await connection.execute(_WRITE, given)


def _rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as JSON: decimals, times and ids as text, which the server reads as what their columns hold."""
    return json.dumps(list(rows), default=str)


def _claim(key: RequestKey, machine_time: datetime) -> dict[str, Any]:
    """What a request_id stands for; the answer itself is kept with the assessment."""
    return {
        "service": key.service,
        "caller": key.caller,
        "request_id": key.request_id,
        "method": key.method,
        "body_sha256": key.body,
        "response": "",
        "created_at": machine_time,
    }


def _assessed(made: Decision) -> dict[str, Any]:
    assessment = made.assessment
    return {name: _column(getattr(assessment, name)) for name in _SAME} | {
        "side": assessment.side.value,
        "decision": assessment.decision.value,
        "requested_size": assessment.requested_size,
        "adjusted_size": assessment.adjusted_size,
        "parts": asdict(assessment.parts),
        "reasons": reasons_to_json(assessment.reasons),
        "snapshot": inputs_to_json(made.inputs),
    }


def _column(value: Any) -> Any:
    """A statistic as text: JSON has no word for one that is not finite, and a column has."""
    return repr(value) if isinstance(value, float) else value


def _reserved(assessment: StoredAssessment, reservation: Reservation) -> dict[str, Any]:
    return {
        "reservation_id": assessment.assessment_id,
        "recommendation_id": assessment.recommendation_id,
        "product_id": assessment.product_id,
        "side": assessment.side.value,
        "quote_amount": reservation.quote_amount,
        "fee_amount": reservation.fee_amount,
        "base_amount": reservation.base_amount,
        "heat": _column(reservation.heat),
        "state": ReservationState.HELD.value,
        "expires_at": reservation.expires_at,
        "as_of": assessment.as_of,
        "created_at": assessment.created_at,
        "updated_at": assessment.created_at,
    }
