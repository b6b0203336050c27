"""Rows of trade_recommendations ⇄ domain types and messages."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from meshkit.dedicated import RowByName
from tradekit import wire
from tradekit.decimals import plain
from tradekit.exit_plan import ExitPlan
from tradekit.reasons import Reason, reasons_from_json
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import LifeClock, Origin, Profile, RecommendationState, Side
from tradekit.units import Price
from trading.common.v1 import recommendation_pb2

_EVIDENCE: TypeAdapter[Evidence] = TypeAdapter(Evidence)


def evidence_to_json(evidence: Evidence) -> Any:
    """The evidence as stored."""
    return _EVIDENCE.dump_python(evidence, mode="json")


def evidence_from_json(stored: Any) -> Evidence:
    """The evidence that `evidence_to_json` stored; anything else is a ValueError that names the field."""
    return _EVIDENCE.validate_python(stored, extra="forbid")


def exit_plan_to_json(plan: ExitPlan) -> dict[str, Any]:
    """The plan as stored; prices as text, so that no digit is lost."""
    return {
        "stop_price": plain(plan.stop_price),
        "target_price": plain(plan.target_price),
        "exit_time": plan.exit_time.isoformat() if plan.exit_time else None,
    }


def exit_plan_from_json(stored: Any) -> ExitPlan:
    """The plan that `exit_plan_to_json` stored."""
    ends = stored["exit_time"]
    return ExitPlan(
        Price(Decimal(stored["stop_price"])),
        Price(Decimal(stored["target_price"])),
        datetime.fromisoformat(ends).astimezone(UTC) if ends else None,
    )


def recommendation_of_row(row: RowByName) -> Recommendation:
    """The recommendation of a row."""
    return Recommendation(
        recommendation_id=row["recommendation_id"],
        product_id=row["product_id"],
        side=Side(row["side"]),
        size=row["size"],
        reference_price=row["reference_price"],
        as_of=row["as_of"],
        expire_time=row["expire_at"],
        life_clock=LifeClock(row["life_clock"]),
        origin=Origin(row["origin"]),
        profile=Profile(row["profile"]),
        priority=row["priority"],
        evidence=evidence_from_json(row["evidence"]) if row["evidence"] else None,
        note=row["note"],
        exit_plan=exit_plan_from_json(row["exit_plan"]) if row["exit_plan"] else None,
    )


@dataclass(frozen=True, slots=True)
class StoredRecommendation:
    """A recommendation and how it stands: who decided its state, why, and with which order."""

    recommendation: Recommendation
    signal_id: UUID | None
    state: RecommendationState
    decided_by: str
    reasons: tuple[Reason, ...]
    adjusted_size: Decimal | None
    order_id: UUID | None
    sequence: int
    created_at: datetime
    updated_at: datetime


def stored_of_row(row: RowByName) -> StoredRecommendation:
    """The recommendation of a whole row, and how it stands."""
    same = ("signal_id", "decided_by", "adjusted_size", "order_id", "sequence", "created_at", "updated_at")
    return StoredRecommendation(
        recommendation=recommendation_of_row(row),
        state=RecommendationState(row["state"]),
        reasons=reasons_from_json(row["reasons"]),
        **{name: row[name] for name in same},
    )


def record_message(stored: StoredRecommendation) -> recommendation_pb2.RecommendationRecord:
    """The recommendation and how it stands, as a message."""
    record = recommendation_pb2.RecommendationRecord(
        recommendation=wire.recommendation_message(stored.recommendation),
        state=wire.state_number(stored.state),
        reasons=wire.reason_messages(stored.reasons),
        decided_by=stored.decided_by,
        order_id=str(stored.order_id or ""),
        sequence=stored.sequence,
        create_time=wire.timestamp_message(stored.created_at),
        update_time=wire.timestamp_message(stored.updated_at),
    )
    if stored.adjusted_size is not None:
        record.adjusted_size.CopyFrom(wire.amount_message(stored.adjusted_size))
    return record
