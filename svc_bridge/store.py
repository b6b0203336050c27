"""The SQL of the bridge: its cursor, the outcomes of signals, and the first row of every recommendation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, insert, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema import streams
from schema.operations import watermarks
from schema.recommendation_rows import StoredRecommendation, evidence_to_json, stored_of_row
from schema.recommendations import bridge_cursors, recommendation_events, signal_outcomes, trade_recommendations
from schema.views.bridge import bridge_candles, bridge_positions, bridge_products
from svc_bridge.proposal import NewRecommendation, Outcome, ProductState, Skip
from tradekit import ids
from tradekit.decimals import to_stored_scale
from tradekit.reasons import reasons_to_json
from tradekit.sizes import NO_BASE, price_of
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState, Side, SignalOutcome
from tradekit.units import Price, ProductId

_TERMINAL = [state.value for state in RECOMMENDATION_TERMINAL]


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


async def product_states(
    connection: AsyncConnection, product_ids: Sequence[ProductId]
) -> dict[ProductId, ProductState]:
    """What the tables say of these products now: holdings, open recommendations, newest BUY recommendation."""
    table = trade_recommendations
    held = dict(
        (
            await connection.execute(
                select(bridge_positions.c.product_id, bridge_positions.c.base_size).where(
                    bridge_positions.c.product_id.in_(product_ids)
                )
            )
        ).all()
    )
    increments = dict(
        (
            await connection.execute(
                select(bridge_products.c.product_id, bridge_products.c.base_increment).where(
                    bridge_products.c.product_id.in_(product_ids)
                )
            )
        ).all()
    )
    open_sides = {
        (row.product_id, row.side)
        for row in await connection.execute(
            select(table.c.product_id, table.c.side)
            .where(table.c.product_id.in_(product_ids), table.c.state.not_in(_TERMINAL))
            .distinct()
        )
    }
    newest_buy = dict(
        (
            await connection.execute(
                select(table.c.product_id, func.max(table.c.as_of))
                .where(table.c.product_id.in_(product_ids), table.c.side == Side.BUY.value)
                .group_by(table.c.product_id)
            )
        ).all()
    )
    return {
        product: ProductState(
            held=held.get(product, NO_BASE),
            base_increment=increments.get(product),
            open_buy=(product, Side.BUY.value) in open_sides,
            open_sell=(product, Side.SELL.value) in open_sides,
            last_buy_as_of=newest_buy.get(product),
        )
        for product in product_ids
    }


async def insert_outcomes(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """One outcome per signal."""
    if outcomes:
        await connection.execute(insert(signal_outcomes), [_outcome_row(outcome) for outcome in outcomes])


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    signal, decided = outcome.signal, outcome.decided
    skipped = isinstance(decided, Skip)
    return {
        "signal_id": signal.signal_id,
        "product_id": signal.product_id,
        "side": signal.side.value,
        "outcome": (SignalOutcome.SKIPPED if skipped else SignalOutcome.RECOMMENDED).value,
        "reasons": reasons_to_json(decided.reasons) if isinstance(decided, Skip) else [],
        "recommendation_id": None if skipped else ids.recommendation_id_of_signal(signal.signal_id),
        "as_of": signal.as_of,
    }


def _recommendation_row(recommendation: NewRecommendation) -> dict[str, Any]:
    made = recommendation.recommendation
    row = {
        "recommendation_id": made.recommendation_id,
        "run_id": recommendation.run_id,
        "origin": made.origin.value,
        "signal_id": recommendation.signal_id,
        "request_id": recommendation.request_id,
        "product_id": made.product_id,
        "side": made.side.value,
        "size": made.size,
        "reference_price": made.reference_price,
        "as_of": made.as_of,
        "expire_at": made.expire_time,
        "life_clock": made.life_clock.value,
        "profile": made.profile.value,
        "priority": made.priority,
        "note": made.note,
    }
    # A column left out is null; one that is given None would hold the JSON word null.
    return row if made.evidence is None else {**row, "evidence": evidence_to_json(made.evidence)}


async def insert_recommendations(
    connection: AsyncConnection, recommendations: Sequence[NewRecommendation]
) -> list[StoredRecommendation]:
    """Inserts recommendations, all of signals or all of operators, with their first event, and wakes orchestrators on commit."""
    if not recommendations:
        return []
    rows = [_recommendation_row(recommendation) for recommendation in recommendations]
    changes = await streams.take_sequences(connection, streams.RECOMMENDATIONS, len(rows))
    decisions = await streams.take_sequences(connection, streams.DECISIONS, len(rows))
    stored = await connection.execute(
        insert(trade_recommendations).returning(trade_recommendations),
        [{**row, "sequence": sequence} for row, sequence in zip(rows, changes, strict=True)],
    )
    found = [stored_of_row(row) for row in stored.mappings()]
    await connection.execute(
        insert(recommendation_events),
        [
            {
                "sequence": sequence,
                "recommendation_id": made.recommendation.recommendation_id,
                "to_state": RecommendationState.PROPOSED.value,
                "decided_by": "bridge",
                "reasons": [],
                "as_of": made.recommendation.as_of,
            }
            for made, sequence in zip(found, decisions, strict=True)
        ],
    )
    await streams.notify(connection, streams.RECOMMENDATIONS)
    await streams.notify(connection, streams.PROPOSALS)
    await streams.notify(connection, streams.DECISIONS)
    return found


async def newest_price(connection: AsyncConnection, product_id: ProductId, granularity: int) -> Price | None:
    """Close of the product's newest candle, None if there is none."""
    table = bridge_candles
    query = (
        select(table.c.close)
        .where(table.c.product_id == product_id, table.c.granularity == granularity)
        .order_by(table.c.start.desc())
        .limit(1)
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def average_cost(connection: AsyncConnection, product_id: ProductId) -> Price | None:
    """Average cost of what is held, None if nothing is."""
    query = select(bridge_positions.c.cost, bridge_positions.c.base_size).where(
        bridge_positions.c.product_id == product_id, bridge_positions.c.base_size > 0
    )
    row = (await connection.execute(query)).one_or_none()
    return to_stored_scale(price_of(row.cost, row.base_size)) if row and row.cost else None


async def is_known_product(connection: AsyncConnection, product_id: ProductId) -> bool:
    """True if the exchange lists the product."""
    query = select(bridge_products.c.product_id).where(bridge_products.c.product_id == product_id)
    return (await connection.execute(query)).scalar_one_or_none() is not None


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


async def changed_after(connection: AsyncConnection, sequence: int, limit: int) -> list[StoredRecommendation]:
    """Recommendations whose newest change is after `sequence`, in order of change."""
    table = trade_recommendations
    query = select(table).where(table.c.sequence > sequence).order_by(table.c.sequence).limit(limit)
    return [stored_of_row(row) for row in (await connection.execute(query)).mappings()]


async def head_sequence(connection: AsyncConnection) -> int:
    """Sequence of the newest change, 0 if there is none."""
    return (await connection.execute(select(func.max(trade_recommendations.c.sequence)))).scalar_one() or 0


async def stage_as_of(connection: AsyncConnection, stage: str) -> datetime | None:
    """A stage's watermark time."""
    query = select(watermarks.c.as_of).where(watermarks.c.stage == stage)
    return (await connection.execute(query)).scalar_one_or_none()
