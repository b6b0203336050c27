"""The SQL of the bridge: its cursor, the outcomes of signals, and the first row of every recommendation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.dedicated import Connection
from schema import streams
from schema.base import Json, Time
from schema.operations import watermarks
from schema.recommendation_rows import StoredRecommendation, evidence_to_json, exit_plan_to_json, stored_of_row
from schema.recommendations import bridge_cursors, trade_recommendations
from svc_bridge.proposal import NewRecommendation, Outcome, Skip
from tradekit import ids
from tradekit.reasons import reasons_to_json
from tradekit.states import RecommendationState, SignalOutcome
from tradekit.units import ProductId

_T = trade_recommendations


async def lock_cursor(connection: AsyncConnection, consumer: str) -> int:
    """The newest signal sequence dealt with, locked until commit: two bridges never turn one signal into two recommendations."""
    await connection.execute(upsert(bridge_cursors).values(consumer=consumer, sequence=0).on_conflict_do_nothing())
    query = select(bridge_cursors.c.sequence).where(bridge_cursors.c.consumer == consumer).with_for_update()
    sequence: int = (await connection.execute(query)).scalar_one()
    return sequence


async def read_cursor(connection: AsyncConnection, consumer: str) -> int:
    """The newest signal sequence dealt with, 0 before the first."""
    query = select(bridge_cursors.c.sequence).where(bridge_cursors.c.consumer == consumer)
    return (await connection.execute(query)).scalar_one_or_none() or 0


async def move_cursor(connection: AsyncConnection, consumer: str, sequence: int) -> None:
    """Moves the cursor in the transaction of what it stands for."""
    table = bridge_cursors
    await connection.execute(
        table.update().where(table.c.consumer == consumer).values(sequence=sequence, updated_at=func.now())
    )


_INSERT_OUTCOMES = text("""
    INSERT INTO signal_outcomes (signal_id, product_id, side, outcome, reasons, recommendation_id, as_of)
    SELECT signal_id, product_id, side, outcome, reasons, recommendation_id, as_of
    FROM jsonb_to_recordset(:rows) AS item (signal_id uuid, product_id text, side text, outcome text, reasons jsonb,
      recommendation_id uuid, as_of timestamptz)
""").bindparams(bindparam("rows", type_=Json))


async def insert_outcomes(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """One outcome per signal, however many in one statement."""
    if outcomes:
        await connection.execute(_INSERT_OUTCOMES, {"rows": [_outcome_row(outcome) for outcome in outcomes]})


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    signal, decided = outcome.signal, outcome.decided
    skipped = isinstance(decided, Skip)
    return {
        "signal_id": str(signal.signal_id),
        "product_id": signal.product_id,
        "side": signal.side.value,
        "outcome": (SignalOutcome.SKIPPED if skipped else SignalOutcome.RECOMMENDED).value,
        "reasons": reasons_to_json(decided.reasons) if isinstance(decided, Skip) else [],
        "recommendation_id": None if skipped else str(ids.recommendation_id_of_signal(signal.signal_id)),
        "as_of": signal.as_of.isoformat(),
    }


def _recommendation_row(place: int, recommendation: NewRecommendation) -> dict[str, Any]:
    """As JSON. What is left out is null; what is given as None would be the JSON word null."""
    made = recommendation.recommendation
    row = {
        "place": place,
        "recommendation_id": str(made.recommendation_id),
        "run_id": recommendation.run_id,
        "origin": made.origin.value,
        "signal_id": recommendation.signal_id and str(recommendation.signal_id),
        "request_id": recommendation.request_id and str(recommendation.request_id),
        "product_id": made.product_id,
        "side": made.side.value,
        "size": str(made.size),
        "reference_price": str(made.reference_price),
        "as_of": made.as_of.isoformat(),
        "expire_at": made.expire_time.isoformat(),
        "life_clock": made.life_clock.value,
        "profile": made.profile.value,
        "priority": made.priority,
        "note": made.note,
        "evidence": made.evidence and evidence_to_json(made.evidence),
        "exit_plan": made.exit_plan and exit_plan_to_json(made.exit_plan),
    }
    return {name: value for name, value in row.items() if value is not None}


# The sequences of decisions are taken from those of recommendations, and so after them: the order of all transactions.
_INSERT = (
    text("""
    WITH given AS MATERIALIZED (
      SELECT * FROM jsonb_to_recordset(:rows) AS item (
        place bigint, recommendation_id uuid, run_id text, origin text, signal_id uuid, request_id uuid, product_id text,
        side text, size numeric, reference_price numeric, as_of timestamptz, expire_at timestamptz, life_clock text,
        profile text, priority double precision, evidence jsonb, note text, exit_plan jsonb)
    ), changes AS MATERIALIZED (
      SELECT take_sequences(:recommendations, :count) AS first
    ), decisions AS MATERIALIZED (
      SELECT take_sequences(:decisions, :count) AS first, changes.first AS first_change FROM changes
    ), inserted AS (
      INSERT INTO trade_recommendations (recommendation_id, run_id, origin, signal_id, request_id, product_id, side, size,
        reference_price, as_of, expire_at, life_clock, profile, priority, evidence, note, exit_plan, state, sequence)
      SELECT recommendation_id, run_id, origin, signal_id, request_id, product_id, side, size,
        reference_price, as_of, expire_at, life_clock, profile, priority, evidence, note, exit_plan, :state, first_change + place
      FROM given CROSS JOIN decisions
      RETURNING *
    ), first_events AS (
      INSERT INTO recommendation_events (sequence, recommendation_id, to_state, decided_by, reasons, as_of)
      SELECT first + place, recommendation_id, :state, 'bridge', '[]', as_of FROM given CROSS JOIN decisions
    ), woken AS MATERIALIZED (
      SELECT pg_notify(:recommendations, ''), pg_notify(:decisions, ''), pg_notify(:proposals, '')
    )
    SELECT inserted.* FROM inserted CROSS JOIN woken ORDER BY sequence
    """)
    .bindparams(
        bindparam("rows", type_=Json),
        bindparam("count", type_=BigInteger),
        bindparam("recommendations", streams.RECOMMENDATIONS, Text),
        bindparam("decisions", streams.DECISIONS, Text),
        bindparam("proposals", streams.PROPOSALS, Text),
        bindparam("state", RecommendationState.PROPOSED.value, Text),
    )
    .columns(**{column.name: column.type for column in trade_recommendations.c})
)


# Watchers of recommendations get the watermark too, and listen to their own channel.
_ADVANCE = text(
    "SELECT advance_watermark('bridge', :as_of, coalesce((SELECT max(sequence) FROM trade_recommendations), 0)),"
    " pg_notify(:recommendations, '')"
).bindparams(bindparam("as_of", type_=Time), bindparam("recommendations", streams.RECOMMENDATIONS, Text))


async def insert_recommendations(
    connection: Connection, recommendations: Sequence[NewRecommendation]
) -> list[StoredRecommendation]:
    """Inserts recommendations with their first event in one statement, and wakes watchers and orchestrators on commit.

    Gives them as they are stored, in their order.
    """
    if not recommendations:
        return []
    rows = [_recommendation_row(place, one) for place, one in enumerate(recommendations)]
    stored = await connection.execute(_INSERT, {"rows": rows, "count": len(rows)})
    return [stored_of_row(row) for row in stored.mappings()]


async def get_recommendation(connection: AsyncConnection, recommendation_id: UUID) -> StoredRecommendation | None:
    """One recommendation, None if there is none."""
    query = select(trade_recommendations).where(trade_recommendations.c.recommendation_id == recommendation_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return stored_of_row(row) if row is not None else None


async def list_recommendations(
    connection: AsyncConnection,
    product_id: ProductId | None,
    state: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[StoredRecommendation]:
    """Recommendations by newest as_of, then id; those after position `before`."""
    table = trade_recommendations
    conditions = []
    if product_id:
        conditions.append(table.c.product_id == product_id)
    if state:
        conditions.append(table.c.state == state)
    if before:
        conditions.append(
            or_(
                table.c.created_at < before[0],
                and_(table.c.created_at == before[0], table.c.recommendation_id > before[1]),
            )
        )
    query = select(table).where(*conditions).order_by(table.c.created_at.desc(), table.c.recommendation_id).limit(limit)
    return [stored_of_row(row) for row in (await connection.execute(query)).mappings()]


def _changed() -> Select[Any]:
    """Rows with the bridge's watermark beside each; one without a change where nothing changed."""
    after, limit = bindparam("after", type_=BigInteger), bindparam("most", type_=Integer)
    changed = select(_T).where(_T.c.sequence > after).order_by(_T.c.sequence).limit(limit).subquery("changed")
    own = select(watermarks.c.as_of, watermarks.c.sequence).where(watermarks.c.stage == "bridge").subquery("own")
    look = select(literal(1).label("look")).subquery("look")
    return (
        select(changed, own.c.as_of.label("watermark"), own.c.sequence.label("watermark_sequence"))
        .select_from(look.outerjoin(own, true()).outerjoin(changed, true()))
        .order_by(changed.c.sequence)
    )


_CHANGED = _changed()


async def changed_after(
    connection: AsyncConnection, sequence: int, limit: int
) -> tuple[list[StoredRecommendation], streams.Watermark | None]:
    """Recommendations whose newest change is after `sequence`, in order of change, and the bridge's watermark at that moment."""
    rows = (await connection.execute(_CHANGED, {"after": sequence, "most": limit})).mappings().all()
    as_of = rows[0]["watermark"]
    watermark = streams.Watermark(as_of, rows[0]["watermark_sequence"]) if as_of else None
    return [stored_of_row(row) for row in rows if row["sequence"] is not None], watermark


async def head_sequence(connection: AsyncConnection) -> int:
    """Sequence of the newest change, 0 if there is none."""
    return (await connection.execute(select(func.max(trade_recommendations.c.sequence)))).scalar_one() or 0


async def advance_own_watermark(connection: AsyncConnection, as_of: datetime) -> None:
    """Moves the bridge's watermark; one statement."""
    await connection.execute(_ADVANCE, {"as_of": as_of})
