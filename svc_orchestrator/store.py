"""The SQL of the orchestrator: claims under leases, and what is read beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, and_, case, func, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schema import streams
from schema.operations import watermarks
from schema.recommendations import recommendation_events, trade_recommendations
from tradekit.reasons import Reason
from tradekit.states import RECOMMENDATION_TERMINAL, LifeClock, RecommendationState, Side

_T = trade_recommendations
_TERMINAL = [state.value for state in RECOMMENDATION_TERMINAL]
_OPEN = [state.value for state in RecommendationState if state not in RECOMMENDATION_TERMINAL]
_REVIEWS_LOCK = 7_406_023
_EXIT_FIRST = case((_T.c.side == Side.SELL.value, 0), else_=1)


def _seconds(seconds: float) -> ColumnElement[Any]:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _claimable(market_time: datetime | None) -> ColumnElement[bool]:
    now = func.clock_timestamp()
    return and_(
        _T.c.state.in_(_OPEN),
        or_(_T.c.lease_expires_at.is_(None), _T.c.lease_expires_at <= now),
        or_(_T.c.not_before.is_(None), _T.c.not_before <= now),
        _market_reached(market_time),
    )


def life_over(market_time: datetime | None) -> ColumnElement[bool]:
    """`tradekit.life.life_at(…).is_over` of a row, as SQL; a test compares them."""
    by_machine = and_(_T.c.life_clock == LifeClock.MACHINE.value, _T.c.expire_at <= func.clock_timestamp())
    if market_time is None:
        return by_machine
    return or_(by_machine, and_(_T.c.life_clock == LifeClock.MARKET.value, _T.c.expire_at <= market_time))


def _market_reached(market_time: datetime | None) -> ColumnElement[bool]:
    """True for items that wait for no market time, or for one that has come; and for those whose life is over."""
    reached = or_(_T.c.wait_for_market.is_(None), life_over(market_time))
    return or_(reached, _T.c.wait_for_market <= market_time) if market_time is not None else reached


async def claim(
    connection: AsyncConnection,
    owner: str,
    lease_seconds: float,
    limit: int,
    side: Side | None,
    market_time: datetime | None,
    lockstep: bool,
    in_progress: Sequence[UUID],
) -> list[RowMapping]:
    """Claims up to `limit` open rows nobody holds, in working order. `side` None claims both, exits first.

    `in_progress` is what the claimer still works on: after an outage longer than a lease those look free, and are not.
    """
    order = (
        (_T.c.as_of, _EXIT_FIRST, _T.c.priority.desc(), _T.c.product_id)
        if lockstep
        else (_EXIT_FIRST, _T.c.priority.desc(), _T.c.as_of, _T.c.product_id)
    )
    conditions = [_claimable(market_time), _T.c.recommendation_id.not_in(in_progress)]
    if lockstep:
        # A delayed item keeps its place: no other overtakes it, so the order of decisions is the same in every run.
        head = select(_T.c.recommendation_id).where(_T.c.state.in_(_OPEN), _market_reached(market_time))
        conditions.append(_T.c.recommendation_id == head.order_by(*order).limit(1).scalar_subquery())
    if side is not None:
        conditions.append(_T.c.side == side.value)
    free = select(_T.c.recommendation_id).where(*conditions).order_by(*order).limit(limit)
    free = free.with_for_update(skip_locked=True)
    taken = await connection.execute(
        update(_T)
        .where(_T.c.recommendation_id.in_(free))
        .values(
            lease_owner=owner,
            lease_expires_at=func.clock_timestamp() + _seconds(lease_seconds),
            not_before=None,
            wait_for_market=None,
        )
        .returning(_T)
    )
    return list(taken.mappings())


async def renew(connection: AsyncConnection, owner: str, held: Sequence[UUID], lease_seconds: float) -> set[UUID]:
    """Renews leases; returns those still ours."""
    kept = await connection.execute(
        update(_T)
        .where(_T.c.recommendation_id.in_(held), _T.c.lease_owner == owner, _T.c.state.in_(_OPEN))
        .values(lease_expires_at=func.clock_timestamp() + _seconds(lease_seconds))
        .returning(_T.c.recommendation_id)
    )
    return set(kept.scalars())


async def requeue(
    connection: AsyncConnection,
    owner: str,
    recommendation_id: UUID,
    delay_seconds: float,
    why: Reason | None = None,
    wait_for_market: datetime | None = None,
) -> None:
    """Gives a claim back, not to be taken before a delay, or before market time passes `wait_for_market`."""
    values: dict[str, Any] = {}
    if why is not None:
        since = func.coalesce(_T.c.delayed_since, func.clock_timestamp())
        values = {"delay_reason": why.as_dict(), "delayed_since": since}
    await connection.execute(
        update(_T)
        .where(_T.c.recommendation_id == recommendation_id, _T.c.lease_owner == owner)
        .values(
            lease_owner=None,
            lease_expires_at=None,
            not_before=func.clock_timestamp() + _seconds(delay_seconds) if delay_seconds else None,
            wait_for_market=wait_for_market,
            delays=_T.c.delays + 1,
            **values,
        )
    )


async def release_all(connection: AsyncConnection, owner: str) -> None:
    """Gives every claim of this process back, so that another takes them at once."""
    await connection.execute(
        update(_T).where(_T.c.lease_owner == owner).values(lease_owner=None, lease_expires_at=None)
    )
    await streams.notify(connection, streams.RECOMMENDATIONS)


async def wake_order(connection: AsyncConnection) -> None:
    """Lets items that wait for their order's fate be looked at now; the executor has news."""
    await connection.execute(
        update(_T)
        .where(_T.c.state == RecommendationState.EXECUTING.value, _T.c.not_before.is_not(None))
        .values(not_before=None)
    )


async def stage_as_of(connection: AsyncConnection, stage: str) -> datetime | None:
    """A stage's watermark time."""
    query = select(watermarks.c.as_of).where(watermarks.c.stage == stage)
    return (await connection.execute(query)).scalar_one_or_none()


async def head_sequence(connection: AsyncConnection) -> int:
    """Sequence of the newest decision, 0 if there is none."""
    return (await connection.execute(select(func.max(recommendation_events.c.sequence)))).scalar_one() or 0


async def machine_time(connection: AsyncConnection) -> datetime:
    """The database's clock."""
    now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return now


async def lock_reviews(connection: AsyncConnection) -> None:
    """Until commit nobody else counts reviews or begins one under a budget."""
    await connection.execute(select(func.pg_advisory_xact_lock(_REVIEWS_LOCK)))


async def reviews_begun(connection: AsyncConnection, as_of: datetime) -> int:
    """BUY ideas whose review began at this market time."""
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
    """Living BUY ideas, not yet in review, that go before this one: the best ideas get a bar's reviews."""
    first = or_(_T.c.priority > priority, and_(_T.c.priority == priority, _T.c.product_id < product_id))
    query = select(func.count()).where(
        _T.c.state == RecommendationState.PROPOSED.value,
        _T.c.side == Side.BUY.value,
        _market_reached(market_time),
        not_(life_over(market_time)),
        first,
    )
    count: int = (await connection.execute(query)).scalar_one()
    return count


@dataclass(frozen=True, slots=True)
class Pulse:
    """Where the pipeline stands: watermarks of stages, and the oldest market time of an open recommendation."""

    market: datetime | None
    bridge: datetime | None
    own: datetime | None
    oldest_open: datetime | None

    def own_mark(self, granularity: int) -> datetime | None:
        """The newest bar whose recommendations are all terminal, if the own watermark is behind it."""
        if self.bridge is None:
            return None
        mark = self.bridge
        if self.oldest_open is not None and self.oldest_open <= self.bridge:
            mark = self.oldest_open - timedelta(seconds=granularity)
        return mark if self.own is None or mark > self.own else None


def _watermark_of(stage: str) -> ScalarSelect[datetime]:
    return select(watermarks.c.as_of).where(watermarks.c.stage == stage).scalar_subquery()


_PULSE = select(
    _watermark_of("market"),
    _watermark_of("bridge"),
    _watermark_of("orchestrator"),
    select(func.min(_T.c.as_of)).where(_T.c.state.in_(_OPEN)).scalar_subquery(),
)


async def read_pulse(connection: AsyncConnection) -> Pulse:
    """Everything that decides whether there is work, in one look: most notifications bring none."""
    return Pulse(*(await connection.execute(_PULSE)).one())


async def advance_own_watermark(connection: AsyncConnection, mark: datetime) -> None:
    """Moves the orchestrator's watermark."""
    await streams.advance_watermark(connection, "orchestrator", mark, await head_sequence(connection))
    # Watchers of decisions are told the watermark too, and listen to their own channel.
    await streams.notify(connection, streams.DECISIONS)
