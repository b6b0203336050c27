"""What the account has at a market time beside its positions: cash, its day's opening equity, locks, spent order tokens.

One statement for any number of market times, so that a batch whose recommendations are of several bars costs no more.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, bindparam, column, text

from meshkit.dedicated import Connection
from schema.base import Amount, Id, Json, Time
from svc_risk.known import AccountAt
from svc_risk.locks import day_start
from svc_risk.pacing import RATE_LOOKBACK
from svc_risk.snapshot import Lock, PastOrders
from svc_risk.store import json_time

# The day's opening is the newest mark at or before 00:00 UTC, else the day's first one. Order tokens are those spent within
# the memory of the buckets, and any spent later. `ended` are locks from this very time that an operator has released. Why each
# array is behind a SELECT: `schema.given_rows`.
_AT = text("""
    SELECT given.as_of,
           (SELECT amount FROM risk_cash WHERE currency = :currency) AS cash,
           coalesce(
             (SELECT mark.equity + mark.transferred FROM equity_snapshots AS mark WHERE mark.as_of <= given.opening
              ORDER BY mark.as_of DESC LIMIT 1),
             (SELECT mark.equity + mark.transferred FROM equity_snapshots AS mark
              WHERE mark.as_of > given.opening AND mark.as_of <= given.as_of ORDER BY mark.as_of LIMIT 1)
           ) AS day_open,
           (SELECT coalesce(jsonb_agg(to_jsonb(held) ORDER BY held.from_time, held.code), '[]')
            FROM risk_locks AS held WHERE held.released_at IS NULL AND held.from_time <= given.as_of
              AND (held.until_time IS NULL OR held.until_time > given.as_of)) AS locks,
           ARRAY(SELECT lock_id FROM risk_locks WHERE from_time = given.as_of AND released_at IS NOT NULL) AS ended,
           (SELECT coalesce(jsonb_agg(jsonb_build_array(product_id, as_of, count)), '[]') FROM (
              SELECT spent.product_id, spent.as_of, count(*)
              FROM risk_reservations AS spent WHERE spent.as_of > given.oldest AND (spent.state = 'COMMITTED'
                OR spent.state = 'HELD' AND spent.expires_at > :machine_time)
              GROUP BY spent.product_id, spent.as_of) AS tokens) AS tokens
    FROM unnest((SELECT :as_ofs), (SELECT :openings), (SELECT :oldest)) AS given(as_of, opening, oldest)
""").bindparams(
    bindparam("as_ofs", type_=ARRAY(Time)),
    bindparam("openings", type_=ARRAY(Time)),
    bindparam("oldest", type_=ARRAY(Time)),
    bindparam("machine_time", type_=Time),
)
_READ = _AT.columns(
    column("as_of", Time),
    column("cash", Amount),
    column("day_open", Amount),
    column("locks", Json),
    column("ended", ARRAY(Id)),
    column("tokens", Json),
)


async def read_account_at(
    connection: Connection, as_ofs: Iterable[datetime], currency: str, machine_time: datetime
) -> dict[datetime, AccountAt]:
    """The account at each of the market times; a reservation that is overdue at `machine_time` has spent nothing."""
    times = sorted(set(as_ofs))
    given = {
        "as_ofs": times,
        "openings": [day_start(time) for time in times],
        "oldest": [time - RATE_LOOKBACK for time in times],
        "currency": currency,
        "machine_time": machine_time,
    }
    return {row.as_of: _account_at(row) for row in (await connection.execute(_READ, given)).all()}


def _account_at(row: Any) -> AccountAt:
    locks = tuple((UUID(stored["lock_id"]), _lock(stored)) for stored in row.locks)
    orders = (PastOrders(product_id, json_time(as_of), count) for product_id, as_of, count in row.tokens)
    return AccountAt(row.cash, row.day_open, locks, frozenset(row.ended), tuple(orders))


def _lock(stored: dict[str, Any]) -> Lock:
    reason, until = stored["reason"], stored["until_time"]
    return Lock(
        stored["code"],
        stored["scope"],
        json_time(stored["from_time"]),
        json_time(until) if until else None,
        reason["limit"],
        reason["observed"],
        reason["unit"],
    )
