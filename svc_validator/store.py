"""The SQL of the validator: one row of llm_validation per reviewer asked, exactly one of them enforced.

A look and a verdict are one statement each, for one request or for many: a transaction of its own, so that no connection is
held while a model thinks.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Select, Text, and_, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.dedicated import Connection, RowByName
from schema.base import Id, Json
from schema.clocks import CLOCK_COLUMNS, Clocks
from schema.given_rows import given_rows
from schema.operations import stored_requests
from schema.recommendation_terms import StoredTerms, terms_of
from schema.recommendations import llm_validation
from schema.requests import RequestKey
from schema.streams import record_key
from schema.views.shared import recommendation_terms
from svc_validator.review import ModelTrace, Review, Validation
from tradekit import ids
from tradekit.reasons import reasons_from_json, reasons_to_json
from tradekit.recommendation import Recommendation
from tradekit.states import ReviewMode, ReviewOutcome, ReviewVerdict

# Before the names of a review's columns, as a recommendation has some of the same names.
_REVIEW = "review_of_"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which request asks about which recommendation."""

    key: RequestKey
    recommendation_id: UUID


@dataclass(frozen=True, slots=True)
class Look:
    """What is stored before a review: the body that the request_id stands for (None if it is new), the recommendation, its
    review if there is one, and the clocks."""

    body: str | None
    terms: StoredTerms | None
    validation: Validation | None
    clocks: Clocks


@dataclass(frozen=True, slots=True)
class Verdict:
    """Reviews of a recommendation as they are to be stored, in their order."""

    key: RequestKey
    recommendation: Recommendation
    request_hash: str
    mode: ReviewMode
    reviews: tuple[Review, ...]
    trace_id: str


def _look() -> Select[Any]:
    """A row per question and stored review, or one without a review."""
    kinds = {"caller": Text, "request_id": Id, "wanted": Id, "validation_id": Id}
    asked = given_rows(kinds, "asked", place="place")
    request = and_(
        stored_requests.c.service == bindparam("service", type_=Text),
        stored_requests.c.caller == asked.c.caller,
        stored_requests.c.request_id == asked.c.request_id,
    )
    return (
        select(
            asked.c.place,
            stored_requests.c.body_sha256.label("body"),
            *CLOCK_COLUMNS,
            *recommendation_terms.c,
            *(one.label(_REVIEW + one.name) for one in llm_validation.c),
        )
        .select_from(asked)
        .outerjoin(stored_requests, request)
        .outerjoin(recommendation_terms, recommendation_terms.c.recommendation_id == asked.c.wanted)
        .outerjoin(llm_validation, llm_validation.c.validation_id == asked.c.validation_id)
        .order_by(asked.c.place, llm_validation.c.review_id)
    )


_LOOK = _look()
_STORE = (
    text("SELECT of_place, noted_body, (review).* FROM store_reviews(:service, :method, :given)")
    .bindparams(bindparam("given", type_=Json))
    .columns(of_place=BigInteger, noted_body=Text, **{one.name: one.type for one in llm_validation.c})
)


async def look(connection: Connection, service: str, asked: Sequence[Asked]) -> list[Look]:
    """What is stored for each question, and the time."""
    given = {
        "service": service,
        "caller": [one.key.caller for one in asked],
        "request_id": [one.key.request_id for one in asked],
        "wanted": [one.recommendation_id for one in asked],
        "validation_id": [ids.validation_id(one.recommendation_id) for one in asked],
    }
    rows = await connection.execute(_LOOK, given)
    found = _by_place(rows.mappings(), "place")
    return [_seen(found[place]) for place in range(1, len(asked) + 1)]


def _seen(rows: Sequence[RowByName]) -> Look:
    first = rows[0]
    reviews = [{one.name: row[_REVIEW + one.name] for one in llm_validation.c} for row in rows]
    return Look(
        body=first["body"],
        terms=terms_of(first) if first["recommendation_id"] else None,
        validation=_validation(reviews),
        clocks=Clocks(first["machine"], first["market"]),
    )


async def store_verdicts(
    connection: Connection, service: str, method: str, verdicts: Sequence[Verdict]
) -> list[tuple[str, Validation | None]]:
    """Stores reviews of recommendations that have none, and notes what each request_id stands for.

    Gives the body that it stands for and the stored review, which of several askers is that of the first. Where the body is
    another, nothing of that verdict was stored.
    """
    items = [_item(place, one) for place, one in enumerate(verdicts)]
    rows = await connection.execute(_STORE, {"service": service, "method": method, "given": items})
    found = _by_place(rows.mappings(), "of_place")
    return [(found[place][0]["noted_body"], _validation(found[place])) for place in range(len(verdicts))]


def _item(place: int, verdict: Verdict) -> dict[str, Any]:
    """A verdict as `store_reviews` takes it."""
    about = verdict.recommendation
    id_texts = {
        "validation_id": str(ids.validation_id(about.recommendation_id)),
        "recommendation_id": str(about.recommendation_id),
    }
    return {
        "place": place,
        "caller": verdict.key.caller,
        "request_id": str(verdict.key.request_id),
        "body": verdict.key.body,
        "lock": record_key(about.recommendation_id),
        "validation_id": id_texts["validation_id"],
        "reviews": [
            _row(about, verdict.request_hash, verdict.mode, one, verdict.trace_id) | id_texts for one in verdict.reviews
        ],
    }


def _by_place(rows: Iterable[RowByName], name: str) -> dict[int, list[RowByName]]:
    found: defaultdict[int, list[RowByName]] = defaultdict(list)
    for row in rows:
        found[row[name]].append(row)
    return found


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


def _validation(rows: Sequence[RowByName]) -> Validation | None:
    """The review that rows of llm_validation, in their order, are; None where none of them was enforced."""
    decisive = next((row for row in rows if row["enforced"] is not None), None)
    if decisive is None:
        return None
    return Validation(
        validation_id=decisive["validation_id"],
        recommendation_id=decisive["recommendation_id"],
        request_hash=decisive["request_hash"],
        verdict=ReviewVerdict(decisive["enforced"]),
        decided_by=decisive["reviewer"],
        mode=ReviewMode(decisive["mode"]),
        reviews=tuple(_review(row) for row in rows),
        decide_time=decisive["created_at"],
    )


def _review(row: RowByName) -> Review:
    trace = ModelTrace(row["model"], row["model_digest"]) if row["model"] else None
    return Review(
        reviewer=row["reviewer"],
        outcome=ReviewOutcome(row["outcome"]),
        reasons=reasons_from_json(row["reasons"]),
        latency_ms=row["latency_ms"],
        inputs=row["inputs"],
        trace=trace,
        enforced=ReviewVerdict(row["enforced"]) if row["enforced"] else None,
    )
