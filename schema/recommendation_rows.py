"""Rows of trade_recommendations ⇄ domain types and messages, and the comparison of a request with its row.

What validator, risk engine and executor are asked about must be what the bridge stored, to the last character: a review
or a ticket of other terms counts for nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, column, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import FailedPrecondition, NotFound
from schema.base import Amount, Id, Json, Time
from tradekit import wire
from tradekit.reasons import reasons_from_json
from tradekit.recommendation import Evidence, Recommendation, terms_hash
from tradekit.states import RECOMMENDATION_TERMINAL, LifeClock, Origin, Profile, RecommendationState, Side
from trading.common.v1 import recommendation_pb2

# A view for every stage that decides on a recommendation.
_TERMS = table(
    "recommendation_terms",
    column("recommendation_id", Id),
    *(column(name) for name in ("product_id", "side", "life_clock", "origin", "profile", "priority", "note", "state")),
    *(column(name, Amount) for name in ("size", "reference_price")),
    *(column(name, Time) for name in ("as_of", "expire_at", "cancel_requested_at")),
    column("evidence", Json),
)


@dataclass(frozen=True, slots=True)
class StoredTerms:
    """A recommendation as it is stored, the hash of its terms, and whether anything new may still be done for it."""

    recommendation: Recommendation
    terms: str
    state: RecommendationState
    cancelled: bool

    @property
    def is_open(self) -> bool:
        """False once it has ended, or an operator has cancelled it."""
        return self.state not in RECOMMENDATION_TERMINAL and not self.cancelled


async def read_terms(connection: AsyncConnection, recommendation_id: UUID, *, lock: bool = False) -> StoredTerms | None:
    """The stored recommendation, None if nobody stored it. With `lock` it cannot end before the transaction does."""
    query = select(_TERMS).where(_TERMS.c.recommendation_id == recommendation_id)
    row = (await connection.execute(query.with_for_update(read=True) if lock else query)).mappings().one_or_none()
    if row is None:
        return None
    found = recommendation_of_row(row)
    cancelled = row["cancel_requested_at"] is not None
    return StoredTerms(found, terms_hash(found), RecommendationState(row["state"]), cancelled)


async def require_terms(
    connection: AsyncConnection, recommendation: Recommendation, *, lock: bool = False
) -> StoredTerms:
    """The stored recommendation, where it says what was sent; NotFound, or TERMS_DIFFER that names what differs."""
    stored = await read_terms(connection, recommendation.recommendation_id, lock=lock)
    if stored is None:
        raise NotFound("recommendation", recommendation.recommendation_id)
    if stored.terms != terms_hash(recommendation):
        raise terms_differ(stored.recommendation, recommendation)
    return stored


def terms_differ(stored: Recommendation, sent: Recommendation) -> FailedPrecondition:
    """The error of a request that is not about what is stored under its id."""
    names = [field.name for field in fields(stored) if getattr(stored, field.name) != getattr(sent, field.name)]
    what = ", ".join(names) or "its terms"
    message = f"recommendation {sent.recommendation_id} is stored with another {what}; send it as it is stored"
    return FailedPrecondition("TERMS_DIFFER", message)


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
        "features": list(evidence.features),
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
        features=tuple(stored["features"]),
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
