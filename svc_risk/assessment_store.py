"""The SQL of assessments and their reservations. Everything here runs inside a transaction that holds the account lock."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.risk import accounts, risk_assessments, risk_reservations
from svc_risk.score import ScoreParts
from svc_risk.snapshot import Inputs, inputs_to_json
from svc_risk.store import ACCOUNT_ID
from tradekit.reasons import Reason, reasons_from_json, reasons_to_json
from tradekit.sizes import order_size
from tradekit.states import ReservationState, RiskDecision, Side
from tradekit.units import BaseSize, OrderSize, ProductId, QuoteSize


@dataclass(frozen=True, slots=True)
class StoredAssessment:
    """A decision as it is stored, without the inputs it was made from; sizes in the unit of its side."""

    assessment_id: UUID
    recommendation_id: UUID
    attempt: int
    request_hash: str
    product_id: ProductId
    side: Side
    decision: RiskDecision
    requested_size: OrderSize
    adjusted_size: OrderSize
    score: float
    parts: ScoreParts
    sigma_14d: float
    heat_before: float
    heat_after: float
    exposure_before: QuoteSize
    exposure_after: QuoteSize
    equity: QuoteSize
    reasons: tuple[Reason, ...]
    limits_version: str
    ticket: str
    as_of: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a decision holds until its order is written down, or until `expires_at`; it has the assessment's id."""

    quote_amount: QuoteSize
    fee_amount: QuoteSize
    base_amount: BaseSize
    heat: float
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """An assessment with the state and end of its reservation (None: it reserved nothing)."""

    assessment: StoredAssessment
    state: ReservationState | None
    expires_at: datetime | None


_OTHER_FORM = {"side", "decision", "requested_size", "adjusted_size", "parts", "reasons"}
_SAME = [name for name in StoredAssessment.__dataclass_fields__ if name not in _OTHER_FORM]
_READ = [risk_assessments.c[name] for name in StoredAssessment.__dataclass_fields__]


async def newest_attempt(connection: AsyncConnection, recommendation_id: UUID) -> Attempt | None:
    """The newest assessment of a recommendation, None if there is none."""
    a, r = risk_assessments, risk_reservations
    query = (
        select(*_READ, r.c.state, r.c.expires_at)
        .select_from(a.outerjoin(r, r.c.reservation_id == a.c.assessment_id))
        .where(a.c.recommendation_id == recommendation_id)
        .order_by(a.c.attempt.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return Attempt(_assessment(row), ReservationState(row.state) if row.state else None, row.expires_at)


def _assessment(row: Any) -> StoredAssessment:
    side = Side(row.side)
    return StoredAssessment(
        **{name: getattr(row, name) for name in _SAME},
        side=side,
        decision=RiskDecision(row.decision),
        requested_size=order_size(side, row.requested_size),
        adjusted_size=order_size(side, row.adjusted_size),
        parts=ScoreParts(**row.parts),
        reasons=reasons_from_json(row.reasons),
    )


async def insert_assessment(
    connection: AsyncConnection, assessment: StoredAssessment, inputs: Inputs, reservation: Reservation | None
) -> None:
    """Writes a decision with its inputs, and what it reserves."""
    values = {name: getattr(assessment, name) for name in _SAME} | {
        "side": assessment.side.value,
        "decision": assessment.decision.value,
        "requested_size": assessment.requested_size,
        "adjusted_size": assessment.adjusted_size,
        "parts": asdict(assessment.parts),
        "reasons": reasons_to_json(assessment.reasons),
        "snapshot": inputs_to_json(inputs),
    }
    await connection.execute(insert(risk_assessments).values(values))
    if reservation is not None:
        await connection.execute(insert(risk_reservations).values(_reserved(assessment, reservation)))
    await connection.execute(
        update(accounts)
        .where(accounts.c.account_id == ACCOUNT_ID)
        .values(snapshot_version=accounts.c.snapshot_version + 1)
    )


def _reserved(assessment: StoredAssessment, reservation: Reservation) -> dict[str, Any]:
    return {
        "reservation_id": assessment.assessment_id,
        "recommendation_id": assessment.recommendation_id,
        "product_id": assessment.product_id,
        "side": assessment.side.value,
        "quote_amount": reservation.quote_amount,
        "fee_amount": reservation.fee_amount,
        "base_amount": reservation.base_amount,
        "heat": reservation.heat,
        "state": ReservationState.HELD.value,
        "expires_at": reservation.expires_at,
        "as_of": assessment.as_of,
        "created_at": assessment.created_at,
        "updated_at": assessment.created_at,
    }
