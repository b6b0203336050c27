"""The SQL of protection: positions with what protects them, and a waiting order whose time has come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Integer, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.base import Amount, Id, Json, Time
from schema.recommendation_rows import exit_plan_from_json
from svc_executor.bracket_tries import Tried
from svc_executor.exit_plan import MarketNow
from svc_executor.protection_step import Bare, Due, Entry, Held, Standing
from tradekit.exit_plan import ExitPlan
from tradekit.sizes import price_of
from tradekit.states import ExitTrigger, OrderState, OrderType
from tradekit.units import BaseSize, Price, ProductId

# Of an order that the exchange calls done, only fills can be missing: it protects nothing any more.
_NOT_DONE = """FROM orders o
  WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION' AND o.done_at IS NULL
    AND o.state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN')"""
# The protective orders of a position `p` that are not done. Amounts go through JSON as text, so that no digit is lost.
STANDING = f"""coalesce((
  SELECT jsonb_agg(jsonb_build_array(o.order_id, o.state, o.order_type, (o.base_size - o.filled_size)::text,
    o.stop_price::text, o.target_price::text, o.exit_time, o.cancel_requested_at IS NOT NULL, o.trigger,
    o.exchange_order_id, o.filled_size::text, o.entry_order_id)
    ORDER BY o.created_at, o.order_id)
  {_NOT_DONE}
), '[]')"""
# Brackets of `p` that were ended for their own time or trailing stop, and nothing has been sold since. One that the exchange
# calls done is ended, though not all fills are listed that it counts; what it calls filled without a size may be filled whole.
# Listed late, they renew the order: a sale that was made for it, or is under way, is told by when that was made.
DUE = """coalesce((
  SELECT jsonb_agg(jsonb_build_array(ended.left_size::text, o.stop_price::text, o.target_price::text, o.exit_time,
    o.cancel_reason, o.entry_order_id) ORDER BY o.updated_at, o.order_id)
  FROM orders o
  CROSS JOIN LATERAL (
    SELECT o.base_size - greatest(o.filled_size, o.done_size) AS left_size, coalesce(o.done_at, o.updated_at) AS at
  ) AS ended
  WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION' AND o.cancel_reason IN ('TIME_LIMIT', 'TRAILING_STOP')
    AND (o.state = 'CANCELLED' OR o.state = 'OPEN' AND o.done_at IS NOT NULL AND o.done_size IS NOT NULL)
    AND ended.left_size > 0 AND o.updated_at >= coalesce(sold.at, '-infinity')
    AND NOT EXISTS (
      SELECT 1 FROM orders s
      WHERE s.product_id = p.product_id AND s.side = 'SELL' AND s.order_id <> o.order_id
        AND coalesce(s.triggered_at, s.created_at) > ended.at
        AND (s.filled_size > 0 OR s.order_type <> 'BRACKET' AND s.state IN ('PENDING', 'UNKNOWN', 'OPEN'))
    )
), '[]')"""
# A bracket that the exchange refused. One that it turned away unread, as where too much is asked of it, was withdrawn.
_REFUSED = """o.product_id = p.product_id AND o.purpose = 'PROTECTION' AND o.order_type = 'BRACKET'
      AND (o.state = 'CANCELLED' AND o.cancel_reason = 'NOT_SENT'
        OR o.state = 'REJECTED' AND o.reasons -> 0 ->> 'scope' SIMILAR TO 'exchange|product:%')"""
# What older entries of `p` have had nothing for since their bracket was refused, and nothing has been sold since.
BARE = f"""coalesce((
  SELECT jsonb_agg(jsonb_build_array(o.base_size::text, o.stop_price::text, o.target_price::text, o.exit_time, o.entry_order_id)
    ORDER BY o.created_at, o.order_id)
  FROM orders o
  WHERE {_REFUSED} AND o.updated_at >= coalesce(sold.at, '-infinity') AND o.created_at > coalesce(adopted.at, '-infinity')
    AND o.entry_order_id IS DISTINCT FROM entry.order_id
    AND NOT EXISTS (
      SELECT 1 FROM orders later
      WHERE later.product_id = p.product_id AND later.purpose = 'PROTECTION'
        AND later.entry_order_id IS NOT DISTINCT FROM o.entry_order_id
        AND later.created_at >= o.created_at AND later.order_id <> o.order_id
    )
), '[]')"""
# Of the newest entry of `p` and of each that may be looked after: what was made to protect it, and the brackets that the
# exchange refused since one rested there.
TRIED = f"""coalesce((
  SELECT jsonb_agg(jsonb_build_array(made.entry_order_id, made.made, refused.times, refused.code, refused.seconds_ago))
  FROM (
    SELECT o.entry_order_id, count(*) AS made, max(o.created_at) FILTER (
      WHERE o.order_type = 'BRACKET' AND o.exchange_order_id IS NOT NULL AND o.state <> 'REJECTED'
    ) AS rested_at
    FROM orders o WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION'
    GROUP BY o.entry_order_id
    HAVING o.entry_order_id IS NOT DISTINCT FROM entry.order_id
      OR bool_or(o.state IN ('WAITING', 'PENDING', 'UNKNOWN', 'OPEN'))
      OR max(o.updated_at) >= coalesce(sold.at, '-infinity')
  ) AS made
  CROSS JOIN LATERAL (
    SELECT count(*) AS times, (array_agg(coalesce(o.reasons -> 0 ->> 'code', '') ORDER BY o.created_at DESC))[1] AS code,
      extract(epoch FROM clock_timestamp() - max(o.updated_at))::float8 AS seconds_ago
    FROM orders o
    WHERE {_REFUSED}
      AND o.entry_order_id IS NOT DISTINCT FROM made.entry_order_id
      AND o.created_at > coalesce(greatest(made.rested_at, adopted.at), '-infinity')
  ) AS refused
), '[]')"""
# A close that waits sells what it was asked for as soon as it can: that protects nothing, and nothing else may hold it.
# Sold counts as well what an operator booked as gone, as when it was sold by hand.
# What protects a position that is gone, as when somebody else sold it, is still to be ended. An entry counts while nothing
# joined the position after it: what did, by an adoption or with a cost of its own, was not bought at its price. Coins that came
# in and were not adopted are no part of it.
_READ = (
    text(f"""
    SELECT p.product_id, p.base_size,
      coalesce((
        SELECT sum(greatest(coalesce(o.done_size, o.base_size) - o.filled_size, 0)) FROM orders o
        WHERE o.product_id = p.product_id AND o.side = 'SELL' AND (o.purpose <> 'PROTECTION' OR o.done_at IS NOT NULL)
          AND o.state IN ('PENDING', 'UNKNOWN', 'OPEN')
      ), 0) + (
        SELECT least(coalesce(sum(c.size), 0), p.base_size) FROM waiting_closes c
        WHERE c.product_id = p.product_id AND c.ended_at IS NULL
      ) AS selling,
      {STANDING} AS standing,
      {DUE} AS due,
      entry.order_id AS entry_order_id, entry.filled_size AS entry_size, entry.filled_value AS entry_value,
      entry.as_of AS entry_as_of, terms.exit_plan AS entry_plan,
      {BARE} AS bare,
      {TRIED} AS tried,
      newest.stop_price, newest.target_price, newest.exit_time,
      (SELECT c.close FROM executor_latest_closes c WHERE c.product_id = p.product_id AND c.granularity = :granularity) AS close,
      (
        SELECT max(c.high) FROM executor_candle_highs c
        WHERE :with_high AND c.product_id = p.product_id AND c.granularity = :granularity AND c.start >= entry.as_of
      ) AS high,
      (SELECT w.as_of FROM watermarks w WHERE w.stage = 'market') AS market_time
    FROM positions p
    LEFT JOIN LATERAL (
      SELECT greatest(
        (SELECT max(o.updated_at) FROM orders o WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0),
        (SELECT max(a.created_at) FROM ledger_adjustments a
         WHERE a.currency = split_part(p.product_id, '-', 1) AND a.amount < 0)
      ) AS at
    ) AS sold ON true
    LEFT JOIN LATERAL (
      SELECT max(a.created_at) AS at FROM ledger_adjustments a
      WHERE a.currency = split_part(p.product_id, '-', 1) AND (a.kind = 'ADOPTION' OR a.cost > 0)
    ) AS adopted ON true
    LEFT JOIN LATERAL (
      SELECT o.order_id, o.recommendation_id, o.filled_size, o.filled_value, o.as_of FROM orders o
      WHERE o.product_id = p.product_id AND o.side = 'BUY' AND o.filled_size > 0
        AND (adopted.at IS NULL OR o.created_at > adopted.at)
      ORDER BY o.as_of DESC, o.created_at DESC LIMIT 1
    ) AS entry ON true
    LEFT JOIN recommendation_terms terms ON terms.recommendation_id = entry.recommendation_id
    LEFT JOIN LATERAL (
      SELECT o.stop_price, o.target_price, o.exit_time FROM orders o
      WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION'
        AND o.entry_order_id IS NOT DISTINCT FROM entry.order_id AND (adopted.at IS NULL OR o.created_at > adopted.at)
      ORDER BY o.created_at DESC, o.order_id DESC LIMIT 1
    ) AS newest ON true
    WHERE (p.base_size > 0 OR EXISTS (SELECT 1 {_NOT_DONE})) AND (:everything OR p.product_id = ANY (:product_ids))
    ORDER BY p.product_id
""")
    .bindparams(
        bindparam("product_ids", type_=ARRAY(Text)),
        bindparam("granularity", type_=Integer),
    )
    .columns(
        Column("product_id", Text),
        Column("base_size", Amount),
        Column("selling", Amount),
        Column("standing", Json),
        Column("due", Json),
        Column("entry_order_id", Id),
        Column("entry_size", Amount),
        Column("entry_value", Amount),
        Column("entry_as_of", Time),
        Column("entry_plan", Json),
        Column("bare", Json),
        Column("tried", Json),
        Column("stop_price", Amount),
        Column("target_price", Amount),
        Column("exit_time", Time),
        Column("close", Amount),
        Column("high", Amount),
        Column("market_time", Time),
    )
)


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A position, and the highest price that its candles had since its entry, where that was asked for."""

    held: Held
    high: Price | None

    def market(self, bid: Price | None) -> MarketNow:
        """What its next step is decided by, beside its rows."""
        return MarketNow(bid, self.high, self.held.market_time)


async def read_held(
    connection: AsyncConnection,
    granularity_seconds: int,
    product_ids: Sequence[ProductId] | None,
    refusal_stays: Callable[[str], bool],
    *,
    with_high: bool,
) -> list[HeldRow]:
    """Positions by product that hold something or have something standing; None: every one. In one statement, and under the
    account lock as nobody else changes them. `refusal_stays`: the exchange's, by its reason."""
    given = {
        "granularity": granularity_seconds,
        "everything": product_ids is None,
        "product_ids": list(product_ids or ()),
        "with_high": with_high,
    }
    return [HeldRow(_held(row, refusal_stays), row.high) for row in await connection.execute(_READ, given)]


def _held(row: Any, refusal_stays: Callable[[str], bool]) -> Held:
    entry = None
    if row.entry_order_id is not None:
        came_with = exit_plan_from_json(row.entry_plan) if row.entry_plan else None
        entry = Entry(row.entry_order_id, price_of(row.entry_value, row.entry_size), row.entry_as_of, came_with)
    plan = None if row.stop_price is None else ExitPlan(row.stop_price, row.target_price, row.exit_time)
    return Held(
        product_id=row.product_id,
        size=row.base_size,
        selling=row.selling,
        standing=tuple(standing_of(*values) for values in row.standing),
        entry=entry,
        plan=plan,
        close=row.close,
        market_time=row.market_time,
        due=tuple(_due_of(*values) for values in row.due),
        bare=tuple(_bare_of(*values) for values in row.bare),
        tried=tuple(_tried_of(*values, refusal_stays=refusal_stays) for values in row.tried),
    )


def _tried_of(
    entry: str | None,
    made: int,
    refused: int,
    code: str | None,
    seconds_ago: float | None,
    *,
    refusal_stays: Callable[[str], bool],
) -> Tried:
    """An element of `TRIED`."""
    if code is None or seconds_ago is None:
        return Tried(_id_of(entry), made)
    # The exchange found the request itself malformed, and its bytes follow from the terms.
    stays = code == "BAD_REQUEST" or refusal_stays(code)
    return Tried(_id_of(entry), made, refused, stays, timedelta(seconds=seconds_ago))


def _id_of(text_: str | None) -> UUID | None:
    return None if text_ is None else UUID(text_)


def _due_of(
    left: str, stop_price: str, target_price: str, exit_time: str | None, trigger: str, entry: str | None
) -> Due:
    """An element of `DUE`."""
    plan = _plan_of(stop_price, target_price, exit_time)
    return Due(BaseSize(Decimal(left)), plan, ExitTrigger(trigger), _id_of(entry))


def _bare_of(left: str, stop_price: str, target_price: str, exit_time: str | None, entry: str | None) -> Bare:
    """An element of `BARE`."""
    return Bare(BaseSize(Decimal(left)), _plan_of(stop_price, target_price, exit_time), _id_of(entry))


def _plan_of(stop_price: str, target_price: str, exit_time: str | None) -> ExitPlan:
    ends = None if exit_time is None else datetime.fromisoformat(exit_time).astimezone(UTC)
    return ExitPlan(Price(Decimal(stop_price)), Price(Decimal(target_price)), ends)


def standing_of(
    order_id: str,
    state: str,
    order_type: str,
    left: str,
    stop_price: str,
    target_price: str,
    exit_time: str | None,
    cancelling: bool,
    trigger: str | None,
    exchange_order_id: str | None,
    filled: str,
    entry_order_id: str | None,
) -> Standing:
    """An element of `STANDING`."""
    return Standing(
        order_id=UUID(order_id),
        state=OrderState(state),
        order_type=OrderType(order_type),
        left=BaseSize(Decimal(left)),
        plan=_plan_of(stop_price, target_price, exit_time),
        cancelling=cancelling,
        trigger=None if trigger is None else ExitTrigger(trigger),
        exchange_order_id=exchange_order_id,
        filled_size=BaseSize(Decimal(filled)),
        entry_order_id=_id_of(entry_order_id),
    )
