"""Exits that wait or failed, positions that nothing protects, orders that a person must hear of, and services that disagree on a
contract, from the rows; all of one moment, in one statement.

From the database and not from the orchestrator: that one may be what an exit waits for.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, text

from meshkit.kit import Kit
from meshkit.spec import Task
from schema.base import Json
from schema.presence import schema_check
from svc_monitor.feeds.feed import Feed, Pace, polled
from svc_monitor.pulse import Pulse

PACE = Pace(2.0, 6.0)
STALE_SECONDS = 14.0

# The oldest open exit of each product.
_OPEN = """
    SELECT DISTINCT ON (product_id) product_id, recommendation_id::text AS recommendation_id, state,
           extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds,
           coalesce(delay_reason ->> 'code', '') AS reason, coalesce(delay_reason ->> 'observed', '') AS observed,
           coalesce(order_id::text, '') AS order_id, coalesce(order_state, '') AS order_state
    FROM monitor_open_exits ORDER BY product_id, created_at
"""
# Acknowledging the alert of a failed exit ends it.
_FAILED = """
    SELECT f.product_id, f.recommendation_id::text AS recommendation_id, f.state, f.decided_by,
           coalesce(f.reasons -> 0 ->> 'code', '') AS reason, coalesce(f.reasons -> 1 ->> 'code', '') AS then_reason,
           trim_scale(f.base_size)::text AS held
    FROM monitor_failed_exits f
    WHERE NOT EXISTS (
      SELECT 1 FROM alerts a WHERE a.code = 'EXIT_FAILED' AND a.acknowledged_at IS NOT NULL
        AND a.scope = 'recommendation:' || f.recommendation_id
    )
    ORDER BY f.product_id
"""
_CLOSE = """
    SELECT product_id, order_id::text AS order_id, state, trim_scale(base_size)::text AS size,
           trim_scale(filled_size)::text AS filled, coalesce(reasons -> 0 ->> 'code', '') AS reason,
           coalesce(reasons -> 0 ->> 'observed', '') AS observed
"""
# Each for itself: none is hidden behind an older exit of its product.
_OPEN_CLOSES = f"""{_CLOSE}, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_seconds,
           cancel_requested_at IS NOT NULL AS cancelled
    FROM monitor_open_closes ORDER BY created_at, order_id LIMIT 100
"""
_FAILED_CLOSES = f"""{_CLOSE}, trim_scale(held)::text AS held
    FROM monitor_failed_closes f
    WHERE NOT EXISTS (
      SELECT 1 FROM alerts a WHERE a.code = 'EXIT_FAILED' AND a.acknowledged_at IS NOT NULL
        AND a.scope = 'order:' || f.order_id
    )
    ORDER BY f.product_id
"""
_UNKNOWN = "SELECT order_id::text AS order_id, product_id, side FROM monitor_unknown_orders ORDER BY as_of, order_id"
_VIOLATIONS = """
    SELECT DISTINCT ON (scope) scope, observed FROM monitor_contract_violations
    WHERE created_at > clock_timestamp() - interval '1 hour' ORDER BY scope, created_at DESC
"""

_ALARMS = """
    SELECT order_id::text AS order_id, product_id, code, detail FROM monitor_order_alarms ORDER BY since, order_id LIMIT 100
"""
_UNPROTECTED = """
    SELECT product_id, trim_scale(base_size)::text AS held, trim_scale(unprotected_size)::text AS unprotected,
           extract(epoch FROM clock_timestamp() - since)::float8 AS age_seconds
    FROM monitor_unprotected_positions ORDER BY product_id
"""


@dataclass(frozen=True, slots=True)
class OpenExit:
    """An exit that is not done; `reason` is what it waited for last, empty if nothing delayed it yet."""

    product_id: str
    recommendation_id: str
    state: str
    age_seconds: float
    reason: str
    observed: str
    order_id: str
    order_state: str


@dataclass(frozen=True, slots=True)
class FailedExit:
    """The newest exit of a product that is still held, where that one came to nothing."""

    product_id: str
    recommendation_id: str
    state: str
    decided_by: str
    reason: str
    then_reason: str
    held: str


@dataclass(frozen=True, slots=True)
class OpenClose:
    """An operator's close that is not done; sizes in base units. `cancelled`: an operator does not want it any more."""

    product_id: str
    order_id: str
    state: str
    size: str
    filled: str
    reason: str
    observed: str
    age_seconds: float
    cancelled: bool


@dataclass(frozen=True, slots=True)
class FailedClose:
    """The newest close of a product that is still held, where that one sold less than it was to."""

    product_id: str
    order_id: str
    state: str
    size: str
    filled: str
    reason: str
    observed: str
    held: str


@dataclass(frozen=True, slots=True)
class UnknownOrder:
    """An order of which nobody knows whether the exchange has it."""

    order_id: str
    product_id: str
    side: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A stage, as `service:risk`, and what was wrong with its newest answer outside the contract."""

    scope: str
    observed: str


@dataclass(frozen=True, slots=True)
class OrderAlarm:
    """An order whose end is not what it was taken for; `detail` in words."""

    order_id: str
    product_id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class UnprotectedPosition:
    """A position of which no order is about to sell a part that the exchange would take an order of; sizes in base units."""

    product_id: str
    held: str
    unprotected: str
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Exits:
    """All of it at one moment."""

    open: tuple[OpenExit, ...] = ()
    failed: tuple[FailedExit, ...] = ()
    open_closes: tuple[OpenClose, ...] = ()
    failed_closes: tuple[FailedClose, ...] = ()
    unknown: tuple[UnknownOrder, ...] = ()
    violations: tuple[Violation, ...] = ()
    alarms: tuple[OrderAlarm, ...] = ()
    unprotected: tuple[UnprotectedPosition, ...] = ()


# Each part of `Exits` by the name of its field: what a row of it is, and the rows.
_PARTS: dict[str, tuple[type, str]] = {
    "open": (OpenExit, _OPEN),
    "failed": (FailedExit, _FAILED),
    "open_closes": (OpenClose, _OPEN_CLOSES),
    "failed_closes": (FailedClose, _FAILED_CLOSES),
    "unknown": (UnknownOrder, _UNKNOWN),
    "violations": (Violation, _VIOLATIONS),
    "alarms": (OrderAlarm, _ALARMS),
    "unprotected": (UnprotectedPosition, _UNPROTECTED),
}
_READ = text(
    "SELECT "
    + ", ".join(
        f"(SELECT coalesce(jsonb_agg(to_jsonb(each)), '[]') FROM ({rows}) AS each) AS {name}"
        for name, (_, rows) in _PARTS.items()
    )
).columns(*(Column(name, Json) for name in _PARTS))


async def read(kit: Kit[Any]) -> Exits:
    """What the rows say now; Unavailable if the database does not answer."""
    async with kit.autocommit.connect() as connection:
        row = (await connection.execute(_READ)).mappings().one()
    return Exits(**{name: tuple(kind(**one) for one in row[name]) for name, (kind, _) in _PARTS.items()})


def feed(kit: Kit[Any], news: Pulse) -> tuple[Feed[Exits], Task]:
    """The feed and its task."""
    kept: Feed[Exits] = Feed("exits", STALE_SECONDS, kit)
    schema = schema_check(kit)

    async def ask() -> Exits:
        await schema.run()
        return await read(kit)

    return kept, polled(kept, PACE, ask, news)
