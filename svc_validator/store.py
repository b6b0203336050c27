"""The SQL of the validator: one row of llm_validation per reviewer asked, exactly one of them enforced."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.recommendations import llm_validation
from svc_validator.review import ModelTrace, Review, Validation
from tradekit import ids
from tradekit.reasons import reasons_from_json, reasons_to_json
from tradekit.recommendation import Recommendation
from tradekit.states import ReviewMode, ReviewOutcome, ReviewVerdict


async def find_validation(connection: AsyncConnection, recommendation_id: UUID) -> Validation | None:
    """The stored review of a recommendation, None before the first."""
    query = (
        select(llm_validation)
        .where(llm_validation.c.validation_id == ids.validation_id(recommendation_id))
        .order_by(llm_validation.c.review_id)
    )
    rows = (await connection.execute(query)).all()
    decisive = next((row for row in rows if row.enforced is not None), None)
    if decisive is None:
        return None
    return Validation(
        validation_id=decisive.validation_id,
        recommendation_id=recommendation_id,
        request_hash=decisive.request_hash,
        verdict=ReviewVerdict(decisive.enforced),
        decided_by=decisive.reviewer,
        mode=ReviewMode(decisive.mode),
        reviews=tuple(_review(row) for row in rows),
        decide_time=decisive.created_at,
    )


async def insert_reviews(
    connection: AsyncConnection,
    recommendation: Recommendation,
    request_hash: str,
    mode: ReviewMode,
    reviews: Sequence[Review],
    trace_id: str,
) -> None:
    """Stores reviews in their order."""
    rows = [_row(recommendation, request_hash, mode, review, trace_id) for review in reviews]
    await connection.execute(insert(llm_validation), rows)


async def insert_opinion(
    connection: AsyncConnection, recommendation: Recommendation, request_hash: str, opinion: Review, trace_id: str
) -> None:
    """Stores a watching model's review beside the decided one; a second opinion of the same reviewer is dropped."""
    row = _row(recommendation, request_hash, ReviewMode.SHADOW, opinion, trace_id)
    await connection.execute(upsert(llm_validation).values(row).on_conflict_do_nothing())


def _row(
    recommendation: Recommendation, request_hash: str, mode: ReviewMode, review: Review, trace_id: str
) -> dict[str, Any]:
    trace = review.trace or ModelTrace("")
    return {
        "validation_id": ids.validation_id(recommendation.recommendation_id),
        "recommendation_id": recommendation.recommendation_id,
        "product_id": recommendation.product_id,
        "reviewer": review.reviewer,
        "outcome": review.outcome.value,
        "enforced": review.enforced.value if review.enforced else None,
        "mode": mode.value,
        "reasons": reasons_to_json(review.reasons),
        "model": trace.model,
        "model_digest": trace.model_digest,
        "server_version": trace.server_version,
        "prompt_version": trace.prompt_version,
        "prompt_sha256": trace.prompt_sha256,
        "request_hash": request_hash,
        "inputs": dict(review.inputs),
        "options": dict(trace.options),
        "raw_output": trace.raw_output,
        "latency_ms": review.latency_ms,
        "timings": dict(trace.timings),
        "error": trace.error,
        "trace_id": trace_id,
    }


def _review(row: Any) -> Review:
    trace = ModelTrace(row.model, row.model_digest) if row.model else None
    return Review(
        reviewer=row.reviewer,
        outcome=ReviewOutcome(row.outcome),
        reasons=reasons_from_json(row.reasons),
        latency_ms=row.latency_ms,
        inputs=row.inputs,
        trace=trace,
        enforced=ReviewVerdict(row.enforced) if row.enforced else None,
    )
