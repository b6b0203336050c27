"""Rows of trade_recommendations ⇄ domain types and messages."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import LifeClock, Origin, Profile, RecommendationState, Side
from trading.common.v1 import recommendation_pb2


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """The evidence as stored."""
    return {
        "signal_id": str(evidence.signal_id),
        "confidence": evidence.confidence,
        "p_down": evidence.p_down,
        "p_neutral": evidence.p_neutral,
        "p_up": evidence.p_up,
        "edge": evidence.edge,
        "expected_net": evidence.expected_net,
        "sigma_horizon": evidence.sigma_horizon,
        "model_version": evidence.model_version,
        "feature_set_hash": evidence.feature_set_hash,
        "features": [[name, value] for name, value in evidence.features],
    }


def evidence_from_json(stored: Mapping[str, Any]) -> Evidence:
    """The evidence that `evidence_to_json` stored."""
    return Evidence(
        signal_id=UUID(stored["signal_id"]),
        confidence=stored["confidence"],
        p_down=stored["p_down"],
        p_neutral=stored["p_neutral"],
        p_up=stored["p_up"],
        edge=stored["edge"],
        expected_net=stored["expected_net"],
        sigma_horizon=stored["sigma_horizon"],
        model_version=stored["model_version"],
        feature_set_hash=stored["feature_set_hash"],
        features=tuple((name, value) for name, value in stored["features"]),
    )


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
