"""The SQL of claims under leases, and the look at the rows that says whether there is any work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, and_, case, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schema import streams
from schema.recommendations import trade_recommendations
from svc_orchestrator.store import market_reached, watermark_of
from tradekit.reasons import Reason, reason_from_dict
from tradekit.states import RECOMMENDATION_TERMINAL, LifeClock, RecommendationState, Side

_T = trade_recommendations
_OPEN = [state.value for state in RecommendationState if state not in RECOMMENDATION_TERMINAL]
_EXIT_FIRST = case((_T.c.side == Side.SELL.value, 0), else_=1)


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A claimed row. `stored` is the recommendation as it is stored: whoever processes it parses it, so that one that cannot
    be parsed stops no other. `now` is machine time, `market` market time at the claim."""

    recommendation_id: UUID
    side: Side
    state: RecommendationState
    life_clock: LifeClock
    expire_at: datetime
    as_of: datetime
    delays: int
    delayed_since: datetime | None
    delay_reason: Reason | None
    cancelled: str | None
    """The operator's note; None while nobody cancelled it."""
    now: datetime
    market: datetime | None
    stored: RowMapping


def _claimed(row: RowMapping, market: datetime | None) -> ClaimedRow:
    return ClaimedRow(
        recommendation_id=row["recommendation_id"],
        side=Side(row["side"]),
        state=RecommendationState(row["state"]),
        life_clock=LifeClock(row["life_clock"]),
        expire_at=row["expire_at"],
        as_of=row["as_of"],
        delays=row["delays"],
        delayed_since=row["delayed_since"],
        delay_reason=reason_from_dict(row["delay_reason"]) if row["delay_reason"] else None,
        cancelled=row["cancel_note"] if row["cancel_requested_at"] else None,
        now=row["now"],
        market=market,
        stored=row,
    )


def _awaits_order() -> ColumnElement[bool]:
    return and_(_T.c.state == RecommendationState.EXECUTING.value, _T.c.not_before.is_not(None))


def _seconds(seconds: float) -> ColumnElement[Any]:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _claimable(market_time: datetime | ScalarSelect[datetime] | None) -> ColumnElement[bool]:
    now = func.clock_timestamp()
    return and_(
        _T.c.state.in_(_OPEN),
        or_(_T.c.lease_expires_at.is_(None), _T.c.lease_expires_at <= now),
        or_(_T.c.not_before.is_(None), _T.c.not_before <= now),
        market_reached(market_time),
    )


async def claim(
    connection: AsyncConnection,
    owner: str,
    lease_seconds: float,
    limit: int,
    side: Side | None,
    market_time: datetime | None,
    lockstep: bool,
    in_progress: Sequence[UUID],
) -> list[ClaimedRow]:
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
        head = select(_T.c.recommendation_id).where(_T.c.state.in_(_OPEN), market_reached(market_time))
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
        .returning(_T, func.clock_timestamp().label("now"))
    )
    return [_claimed(row, market_time) for row in taken.mappings()]


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
    """Lets items that wait for their order's outcome be looked at now; the executor has news."""
    await connection.execute(update(_T).where(_awaits_order()).values(not_before=None))


@dataclass(frozen=True, slots=True)
class Pulse:
    """Where the pipeline stands: watermarks of stages, the oldest market time of an open recommendation, whether any exit or
    entry can be claimed, and whether any waits for its order."""

    market: datetime | None
    bridge: datetime | None
    own: datetime | None
    oldest_open: datetime | None
    exits: bool
    entries: bool
    awaits_order: bool

    def claimable(self, side: Side | None) -> bool:
        """Whether there is work of a side, None for both."""
        return (self.exits and side is not Side.BUY) or (self.entries and side is not Side.SELL)

    def own_watermark(self, granularity: int) -> datetime | None:
        """The newest bar whose recommendations are all terminal, if the own watermark is behind it."""
        if self.bridge is None:
            return None
        watermark = self.bridge
        if self.oldest_open is not None and self.oldest_open <= self.bridge:
            watermark = self.oldest_open - timedelta(seconds=granularity)
        return watermark if self.own is None or watermark > self.own else None


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(*conditions)


_PULSE = select(
    watermark_of("market"),
    watermark_of("bridge"),
    watermark_of("orchestrator"),
    select(func.min(_T.c.as_of)).where(_T.c.state.in_(_OPEN)).scalar_subquery(),
    _any(_claimable(watermark_of("market")), _T.c.side == Side.SELL.value),
    _any(_claimable(watermark_of("market")), _T.c.side == Side.BUY.value),
    _any(_awaits_order()),
)


async def read_pulse(connection: AsyncConnection) -> Pulse:
    """Everything that decides whether there is work, in one look: most notifications bring none."""
    return Pulse(*(await connection.execute(_PULSE)).one())
