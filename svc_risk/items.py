"""What a batch of recommendations to assess needs to know of each of them, read in one statement with the moment.

Read after the account lock was taken. What was taken in the same batch is not in it (`progress` has that).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Select,
    Text,
    and_,
    exists,
    func,
    select,
    true,
)

from meshkit.dedicated import Connection
from schema.base import Id, Time
from schema.given_rows import given_rows
from schema.operations import stored_requests
from schema.recommendation_terms import terms_of
from schema.risk import risk_assessments, risk_reservations
from schema.views.risk import risk_approvals, risk_entries, risk_losing_exits, risk_products
from schema.views.shared import recommendation_terms
from svc_risk.assessment_store import READ, attempt_of
from svc_risk.assessments import Facts, Item
from svc_risk.known import Moment
from svc_risk.store import MOMENT, moment_of
from tradekit.products import Product

# Of each item: the columns of what is asked, with their types, and where they are taken from.
_ASKED: Mapping[str, tuple[Any, Callable[[Item], object]]] = {
    "recommendation_id": (Id, lambda item: item.recommendation.recommendation_id),
    "terms": (Text, lambda item: item.key.body),
    "product_id": (Text, lambda item: item.recommendation.product_id),
    "as_of": (Time, lambda item: item.recommendation.as_of),
    "service": (Text, lambda item: item.key.service),
    "caller": (Text, lambda item: item.key.caller),
    "request_id": (Id, lambda item: item.key.request_id),
}
_PRODUCT = tuple(Product.__dataclass_fields__)


async def read_items(connection: Connection, items: Sequence[Item]) -> tuple[Moment, list[Facts]]:
    """The moment, and the facts of each item in their order; at least one item."""
    given = {name: [taken(item) for item in items] for name, (_, taken) in _ASKED.items()}
    rows = (await connection.execute(_ITEMS, given)).all()
    moment = moment_of(rows[0])
    return moment, [_facts(row, moment) for row in rows]


def _facts(row: Any, moment: Moment) -> Facts:
    values = row._mapping
    stored, made = _named(values, "stored_"), _named(values, "made_")
    listed = _named(values, "listed_")
    return Facts(
        body=row.known_body,
        stored=terms_of(stored) if stored["recommendation_id"] is not None else None,
        newest=attempt_of(made, moment.machine_time) if made["assessment_id"] is not None else None,
        approved=row.approved,
        product=Product(*(listed[name] for name in _PRODUCT)) if listed["product_id"] is not None else None,
        last_entry=row.last_entry,
        last_losing_exit=row.last_losing_exit,
    )


def _named(values: Any, prefix: str) -> Any:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _labelled(prefix: str, columns: Sequence[Column[Any]]) -> list[Any]:
    """Several tables have columns of the same name."""
    return [each.label(prefix + each.name) for each in columns]


def _past(wanted: Any, moment: Any) -> Select[Any]:
    """What cooldowns are counted from, once for each product and market time: a batch has many items of few of them."""
    times = select(wanted.product_id, wanted.as_of).distinct().subquery("times").c
    reserved, losing = risk_reservations.c, risk_losing_exits.c
    entry = select(func.max(risk_entries.c.as_of)).where(risk_entries.c.product_id == times.product_id)
    # A live reservation is an entry, as an order is.
    held_buy = and_(reserved.side == "BUY", reserved.state == "HELD", reserved.expires_at > moment.machine_time)
    held = select(func.max(reserved.as_of)).where(reserved.product_id == times.product_id, held_buy)
    # Not as a maximum: the newest is found by the index, and none before it is looked at.
    loss = select(losing.as_of).where(losing.product_id == times.product_id, losing.as_of <= times.as_of)
    loss = loss.order_by(losing.as_of.desc()).limit(1)
    return select(
        times.product_id,
        times.as_of,
        func.greatest(entry.scalar_subquery(), held.scalar_subquery()).label("last_entry"),
        loss.scalar_subquery().label("last_losing_exit"),
    ).join_from(times.product_id.table, moment.machine_time.table, true())


def _statement() -> Select[Any]:
    given = given_rows({name: kind for name, (kind, _) in _ASKED.items()}, place="place")
    wanted = select(*given.c).cte("wanted").c
    moment, asked, product = MOMENT.cte("moment"), stored_requests.c, risk_products.c
    terms, reserved = recommendation_terms.c, risk_reservations.c
    newest = (
        select(
            *_labelled("made_", READ),
            reserved.state.label("made_reservation_state"),
            reserved.expires_at.label("made_expires_at"),
        )
        .select_from(
            risk_assessments.outerjoin(risk_reservations, reserved.reservation_id == risk_assessments.c.assessment_id)
        )
        .where(risk_assessments.c.recommendation_id == wanted.recommendation_id)
        .order_by(risk_assessments.c.attempt.desc())
        .limit(1)
        .lateral("newest")
    )
    # Or it would be reckoned again for each item.
    past = _past(wanted, moment.c).cte("past").prefix_with("materialized")
    return (
        select(
            *moment.c,
            asked.body_sha256.label("known_body"),
            *_labelled("stored_", list(terms)),
            *newest.c,
            exists()
            .where(
                risk_approvals.c.recommendation_id == wanted.recommendation_id,
                risk_approvals.c.request_hash == wanted.terms,
            )
            .label("approved"),
            *_labelled("listed_", [product[name] for name in _PRODUCT]),
            past.c.last_entry,
            past.c.last_losing_exit,
        )
        .select_from(wanted.recommendation_id.table)
        .join(moment, true())
        .outerjoin(
            stored_requests,
            and_(
                asked.service == wanted.service,
                asked.caller == wanted.caller,
                asked.request_id == wanted.request_id,
            ),
        )
        .outerjoin(recommendation_terms, terms.recommendation_id == wanted.recommendation_id)
        .outerjoin(newest, true())
        .outerjoin(risk_products, product.product_id == wanted.product_id)
        .join(past, and_(past.c.product_id == wanted.product_id, past.c.as_of == wanted.as_of))
        .order_by(wanted.place)
    )


_ITEMS = _statement()
