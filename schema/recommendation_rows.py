"""Rows of trade_recommendations ⇄ domain types and messages."""

from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import LifeClock, Origin, Profile, RecommendationState, Side
from trading.common.v1 import recommendation_pb2

_EVIDENCE: TypeAdapter[Evidence] = TypeAdapter(Evidence)


def evidence_to_json(evidence: Evidence) -> Any:
    """The evidence as stored."""
    return _EVIDENCE.dump_python(evidence, mode="json")


def evidence_from_json(stored: Any) -> Evidence:
    """The evidence that `evidence_to_json` stored; anything else is a ValueError that names the field."""
    return _EVIDENCE.validate_python(stored, extra="forbid")


def recommendation_of_row(row: RowMapping) -> Recommendation:
    """The idea of a row."""
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
    )


def record_of_row(row: RowMapping) -> recommendation_pb2.RecommendationRecord:
    """The idea and its fate so far, as a message."""
    record = recommendation_pb2.RecommendationRecord(
        recommendation=wire.recommendation_message(recommendation_of_row(row)),
        state=wire.state_number(RecommendationState(row["state"])),
        reasons=wire.reason_messages(reasons_from_json(row["reasons"])),
        decided_by=row["decided_by"],
        order_id=str(row["order_id"] or ""),
        sequence=row["sequence"],
        create_time=wire.timestamp_message(row["created_at"]),
        update_time=wire.timestamp_message(row["updated_at"]),
    )
    if row["adjusted_size"] is not None:
        record.adjusted_size.CopyFrom(wire.amount_message(row["adjusted_size"]))
    return record
