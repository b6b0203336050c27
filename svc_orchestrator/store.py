"""The SQL of the orchestrator beside its claims: orders, cancels, decisions, reviews of a bar, watermark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Text, and_, bindparam, func, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schema import streams
from schema.base import Time
from schema.operations import watermarks
from schema.recommendation_rows import StoredRecommendation, stored_of_row
from schema.recommendations import recommendation_events, trade_recommendations
from schema.views.orchestrator import orchestrator_orders
from svc_orchestrator.steps import OrderSeen
from tradekit.reasons import Reason, reasons_from_json
from tradekit.states import ORDER_TERMINAL, LifeClock, OrderState, RecommendationState, Side

_T = trade_recommendations
_REVIEWS_LOCK = 7_406_023
_ADVANCE_OWN = text("""
    SELECT advance_watermark('orchestrator', :as_of, (SELECT coalesce(max(sequence), 0) FROM recommendation_events)),
           pg_notify(:channel, '')
""").bindparams(bindparam("as_of", type_=Time), bindparam("channel", type_=Text))


def watermark_of(stage: str) -> ScalarSelect[datetime]:
    """A stage's watermark time as a part of a query."""
    return select(watermarks.c.as_of).where(watermarks.c.stage == stage).scalar_subquery()


def life_over(market_time: datetime | ScalarSelect[datetime] | None) -> ColumnElement[bool]:
    """`tradekit.life.life_at(…).is_over` of a row, as SQL; a test compares them."""
    by_machine = and_(_T.c.life_clock == LifeClock.MACHINE.value, _T.c.expire_at <= func.clock_timestamp())
    if market_time is None:
        return by_machine
    return or_(by_machine, and_(_T.c.life_clock == LifeClock.MARKET.value, _T.c.expire_at <= market_time))


def market_reached(market_time: datetime | ScalarSelect[datetime] | None) -> ColumnElement[bool]:
    """True for items that wait for no market time, or for one that has come; and for those whose life is over."""
    reached = or_(_T.c.wait_for_market.is_(None), life_over(market_time))
    return or_(reached, _T.c.wait_for_market <= market_time) if market_time is not None else reached


async def order_of(connection: AsyncConnection, recommendation_id: UUID) -> OrderSeen | None:
    """The order of a recommendation as the executor wrote it down, None if it did not."""
    c = orchestrator_orders.c
    query = select(c.order_id, c.state, c.filled_size, c.reasons).where(c.recommendation_id == recommendation_id)
    row = (await connection.execute(query)).one_or_none()
    return order_seen(row) if row is not None else None


def order_seen(row: Any) -> OrderSeen:
    """The order of a row with these columns."""
    return OrderSeen(row.order_id, OrderState(row.state), row.filled_size, reasons_from_json(row.reasons))


async def lock_recommendation(connection: AsyncConnection, recommendation_id: UUID) -> StoredRecommendation | None:
    """A recommendation that does not change until the transaction ends; None if there is no such one."""
    query = select(_T).where(_T.c.recommendation_id == recommendation_id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return stored_of_row(row) if row is not None else None


async def request_cancel(connection: AsyncConnection, recommendation_id: UUID, note: str) -> None:
    """Writes the operator's word into the row and has it looked at now; of several the first one's time counts."""
    await connection.execute(
        update(_T)
        .where(_T.c.recommendation_id == recommendation_id)
        .values(
            cancel_requested_at=func.coalesce(_T.c.cancel_requested_at, func.clock_timestamp()),
            cancel_note=note,
            not_before=None,
            wait_for_market=None,
        )
    )
    await streams.notify(connection, streams.PROPOSALS)


async def ended_without_its_order(
    connection: AsyncConnection, ended: Sequence[RecommendationState], look_back: timedelta
) -> list[UUID]:
    """Recommendations in one of these ends, with nothing bought or sold, whose order was filled lately."""
    orders = orchestrator_orders.c
    query = (
        select(_T.c.recommendation_id)
        .join(orchestrator_orders, orders.recommendation_id == _T.c.recommendation_id)
        .where(
            orders.updated_at > func.now() - look_back,
            orders.filled_size > 0,
            orders.state.in_([state.value for state in ORDER_TERMINAL]),
            _T.c.state.in_([state.value for state in ended]),
        )
    )
    return list((await connection.execute(query)).scalars())


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of state, with what it is about; `event_time` is machine time."""

    sequence: int
    recommendation_id: UUID
    product_id: str
    side: Side
    from_state: RecommendationState | None
    to_state: RecommendationState
    decided_by: str
    reasons: tuple[Reason, ...]
    as_of: datetime
    event_time: datetime


async def decisions_after(connection: AsyncConnection, sequence: int, limit: int) -> list[Decision]:
    """Changes after a sequence, in their order."""
    events = recommendation_events.c
    query = (
        select(recommendation_events, _T.c.product_id, _T.c.side)
        .join(_T, _T.c.recommendation_id == events.recommendation_id)
        .where(events.sequence > sequence)
        .order_by(events.sequence)
        .limit(limit)
    )
    return [_decision(row) for row in await connection.execute(query)]


def _decision(row: Any) -> Decision:
    return Decision(
        sequence=row.sequence,
        recommendation_id=row.recommendation_id,
        product_id=row.product_id,
        side=Side(row.side),
        from_state=RecommendationState(row.from_state) if row.from_state else None,
        to_state=RecommendationState(row.to_state),
        decided_by=row.decided_by,
        reasons=reasons_from_json(row.reasons),
        as_of=row.as_of,
        event_time=row.created_at,
    )


async def head_sequence(connection: AsyncConnection) -> int:
    """Sequence of the newest decision, 0 if there is none."""
    return (await connection.execute(select(func.max(recommendation_events.c.sequence)))).scalar_one() or 0


async def lock_reviews(connection: AsyncConnection) -> None:
    """Until commit nobody else counts reviews or begins one under a budget."""
    await connection.execute(select(func.pg_advisory_xact_lock(_REVIEWS_LOCK)))


async def reviews_begun(connection: AsyncConnection, as_of: datetime) -> int:
    """BUY recommendations whose review began at this market time."""
    query = (
        select(func.count())
        .select_from(recommendation_events.join(_T))
        .where(
            recommendation_events.c.to_state == RecommendationState.IN_REVIEW.value,
            recommendation_events.c.as_of == as_of,
            _T.c.side == Side.BUY.value,
        )
    )
    count: int = (await connection.execute(query)).scalar_one()
    return count


async def reviews_ahead(connection: AsyncConnection, priority: float, product_id: str, market_time: datetime) -> int:
    """Living BUY recommendations, not yet in review, that go before this one: the best recommendations get a bar's reviews."""
    first = or_(_T.c.priority > priority, and_(_T.c.priority == priority, _T.c.product_id < product_id))
    query = select(func.count()).where(
        _T.c.state == RecommendationState.PROPOSED.value,
        _T.c.side == Side.BUY.value,
        market_reached(market_time),
        not_(life_over(market_time)),
        first,
    )
    count: int = (await connection.execute(query)).scalar_one()
    return count


async def advance_own_watermark(connection: AsyncConnection, watermark: datetime) -> None:
    """Moves the orchestrator's watermark and wakes the watchers of decisions, who get it too and listen to their own channel."""
    await connection.execute(_ADVANCE_OWN, {"as_of": watermark, "channel": streams.DECISIONS})
