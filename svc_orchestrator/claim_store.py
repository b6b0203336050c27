"""The SQL of claims under leases, and the look at the rows that says whether there is any work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Double,
    Integer,
    ScalarSelect,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.dedicated import Connection, RowByName
from schema import streams
from schema.base import Id
from schema.recommendation_rows import recommendation_of_row
from schema.recommendations import trade_recommendations
from svc_orchestrator.steps import ORDER_SCOPE
from svc_orchestrator.store import life_over, market_reached, watermark_of
from tradekit.reasons import Reason, reason_from_dict
from tradekit.recommendation import Recommendation
from tradekit.states import RECOMMENDATION_TERMINAL, LifeClock, RecommendationState, Side

_T = trade_recommendations
# As literals: with parameters the planner could not use the index of what is open.
_IS_OPEN = _T.c.state.in_(
    [literal_column(f"'{state.value}'") for state in RecommendationState if state not in RECOMMENDATION_TERMINAL]
)
_MARKET = watermark_of("market")
_EXIT_FIRST = case((_T.c.side == Side.SELL.value, 0), else_=1)


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A claimed row. `stored` is the recommendation, or what was raised when it was read: one that cannot be read stops no
    other. `now` is machine time, `market` market time at the claim."""

    recommendation_id: UUID
    side: Side
    state: RecommendationState
    life_clock: LifeClock
    expire_at: datetime
    as_of: datetime
    delays: int
    delayed_since: datetime | None
    delay_reason: Reason | None
    adjusted_size: Decimal | None
    cancelled: str | None
    """The operator's note; None while nobody cancelled it."""
    now: datetime
    market: datetime | None
    stored: Recommendation | Exception

    @property
    def defect(self) -> Exception | None:
        """Why the stored recommendation cannot be read; None if it can."""
        return self.stored if isinstance(self.stored, Exception) else None

    def in_review(self) -> "ClaimedRow":
        """The row after its review has begun."""
        return replace(self, state=RecommendationState.IN_REVIEW)

    def recommendation(self) -> Recommendation:
        """The stored recommendation; raises its defect."""
        if isinstance(self.stored, Exception):
            raise self.stored
        return self.stored


def _claimed(row: RowByName) -> ClaimedRow:
    stored: Recommendation | Exception
    try:
        stored = recommendation_of_row(row)
    except Exception as error:
        # Whatever is wrong with one row, its claim comes to the one who processes it, and he says so in the row.
        stored = error
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
        adjusted_size=row["adjusted_size"],
        cancelled=row["cancel_note"] if row["cancel_requested_at"] else None,
        now=row["now"],
        market=row["market"],
        stored=stored,
    )


def _awaits_order() -> ColumnElement[bool]:
    """Rows put back until their order changes. One that was refused keeps its delay: each try changes orders itself."""
    waits_for = _T.c.delay_reason["scope"].astext
    return and_(
        _T.c.state == RecommendationState.EXECUTING.value,
        _T.c.not_before.is_not(None),
        waits_for.startswith(ORDER_SCOPE),
    )


def _seconds(seconds: float | ColumnElement[float]) -> ColumnElement[Any]:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _claimable(market_time: datetime | ScalarSelect[datetime] | None) -> ColumnElement[bool]:
    now = func.clock_timestamp()
    return and_(
        _IS_OPEN,
        or_(_T.c.lease_expires_at.is_(None), _T.c.lease_expires_at <= now),
        or_(_T.c.not_before.is_(None), _T.c.not_before <= now),
        market_reached(market_time),
    )


@dataclass(frozen=True, slots=True)
class Room:
    """How many more of a side may be claimed; `side` None is both, exits first."""

    side: Side | None
    size: int


async def claim(
    connection: Connection,
    owner: str,
    lease_seconds: float,
    rooms: Sequence[Room],
    lockstep: bool,
    in_progress: Sequence[UUID],
) -> list[ClaimedRow]:
    """Claims open rows nobody holds, as many as there is room for and in working order, with one statement.

    `in_progress` is what the claimer still works on: after an outage longer than a lease those look free, and are not.
    """
    claims = _CLAIM_IN_LOCKSTEP if lockstep else _CLAIM
    sizes = {_size(room.side): room.size for room in rooms}
    given = {"owner": owner, "lease": lease_seconds, "in_progress": list(in_progress)}
    taken = await connection.execute(claims, {"exits": 0, "entries": 0, "both": 0, **sizes, **given})
    return [_claimed(row) for row in taken.mappings()]


def _size(side: Side | None) -> str:
    return {None: "both", Side.SELL: "exits", Side.BUY: "entries"}[side]


def _free(
    side: Side | None, order: Sequence[ColumnElement[Any]], size: str, *conditions: ColumnElement[bool]
) -> Select[Any]:
    in_progress = bindparam("in_progress", type_=ARRAY(Id))
    free = select(_T.c.recommendation_id).where(
        _claimable(_MARKET), not_(_T.c.recommendation_id == any_(in_progress)), *conditions
    )
    if side is not None:
        free = free.where(_T.c.side == side.value)
    limited = free.order_by(*order).limit(bindparam(size, type_=Integer))
    return select(limited.with_for_update(skip_locked=True).cte(size))


def _claim_of(free: Select[Any] | CompoundSelect[Any]) -> Any:
    return (
        update(_T)
        .where(_T.c.recommendation_id.in_(free))
        .values(
            lease_owner=bindparam("owner", type_=Text),
            lease_expires_at=func.clock_timestamp() + _seconds(bindparam("lease", type_=Double)),
            not_before=None,
            wait_for_market=None,
        )
        .returning(_T, func.clock_timestamp().label("now"), _MARKET.label("market"))
    )


_ORDER = (_EXIT_FIRST, _T.c.priority.desc(), _T.c.as_of, _T.c.product_id)
_ORDER_IN_LOCKSTEP = (_T.c.as_of, _EXIT_FIRST, _T.c.priority.desc(), _T.c.product_id)
_OVER = and_(_T.c.state == literal_column("'PROPOSED'"), _T.c.side == Side.BUY.value, life_over(_MARKET))
_CLAIM_OVER = _claim_of(_free(None, (_T.c.expire_at,), "over", _OVER))
_CLAIM = _claim_of(union_all(_free(Side.SELL, _ORDER, "exits"), _free(Side.BUY, _ORDER, "entries")))
# A delayed item keeps its place: no other overtakes it, so the order of decisions is the same in every run.
_HEAD = select(_T.c.recommendation_id).where(_IS_OPEN, market_reached(_MARKET))
_CLAIM_IN_LOCKSTEP = _claim_of(
    _free(
        None,
        _ORDER_IN_LOCKSTEP,
        "both",
        _T.c.recommendation_id == _HEAD.order_by(*_ORDER_IN_LOCKSTEP).limit(1).scalar_subquery(),
    )
)


async def claim_over(
    connection: AsyncConnection, owner: str, lease_seconds: float, limit: int, in_progress: Sequence[UUID]
) -> list[ClaimedRow]:
    """Claims entries that nobody holds and whose life is over, whatever their priority: they have only to be ended."""
    given = {"owner": owner, "lease": lease_seconds, "in_progress": list(in_progress), "over": limit}
    return [_claimed(row) for row in (await connection.execute(_CLAIM_OVER, given)).mappings()]


async def renew(connection: AsyncConnection, owner: str, held: Sequence[UUID], lease_seconds: float) -> set[UUID]:
    """Renews leases; returns those still ours."""
    kept = await connection.execute(
        update(_T)
        .where(
            _T.c.recommendation_id == any_(literal(list(held), ARRAY(Id))),
            _T.c.lease_owner == owner,
            _IS_OPEN,
        )
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
    await streams.notify(connection, streams.PROPOSALS)


async def wake_order(connection: AsyncConnection) -> None:
    """Lets items that wait for their order's outcome be looked at now; the executor has news."""
    await connection.execute(update(_T).where(_awaits_order()).values(not_before=None))


@dataclass(frozen=True, slots=True)
class Pulse:
    """Where the pipeline stands: watermarks of stages, the oldest market time of an open recommendation, whether any exit or
    entry can be claimed, whether any waits for its order, and whether the life of any is over that nobody has begun."""

    market: datetime | None
    bridge: datetime | None
    own: datetime | None
    oldest_open: datetime | None
    exits: bool
    entries: bool
    awaits_order: bool
    over: bool

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
    select(func.min(_T.c.as_of)).where(_IS_OPEN).scalar_subquery(),
    _any(_claimable(watermark_of("market")), _T.c.side == Side.SELL.value),
    _any(_claimable(watermark_of("market")), _T.c.side == Side.BUY.value),
    _any(_awaits_order()),
    _any(_claimable(_MARKET), _OVER),
)


async def read_pulse(connection: AsyncConnection) -> Pulse:
    """Everything that decides whether there is work, in one look: most notifications bring none."""
    return Pulse(*(await connection.execute(_PULSE)).one())
