"""The SQL of protection: positions with what protects them, and a waiting order whose time has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Column, Integer, Text, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.base import Amount, Id, Json, Time
from schema.recommendation_rows import exit_plan_from_json
from svc_executor import store
from svc_executor.exit_plan import MarketNow
from svc_executor.protection_step import Due, Entry, Held, Standing
from svc_executor.store import OrderRow
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
    o.exchange_order_id, o.filled_size::text)
    ORDER BY o.created_at, o.order_id)
  {_NOT_DONE}
), '[]')"""
# Brackets of `p` that were ended for their own time or trailing stop, and nothing has been sold since.
DUE = """coalesce((
  SELECT jsonb_agg(jsonb_build_array((o.base_size - o.filled_size)::text, o.stop_price::text, o.target_price::text, o.exit_time,
    o.cancel_reason) ORDER BY o.updated_at, o.order_id)
  FROM orders o
  WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION' AND o.cancel_reason IN ('TIME_LIMIT', 'TRAILING_STOP')
    AND o.state = 'CANCELLED' AND o.filled_size < o.base_size AND o.updated_at >= coalesce(sold.at, '-infinity')
), '[]')"""
# A close that waits sells what it was asked for as soon as it can: that protects nothing, and nothing else may hold it.
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
      (
        SELECT count(*) FROM orders o
        WHERE o.product_id = p.product_id AND o.purpose = 'PROTECTION'
          AND o.entry_order_id IS NOT DISTINCT FROM entry.order_id
      ) AS made,
      newest.stop_price, newest.target_price, newest.exit_time,
      coalesce((newest.state = 'REJECTED' AND newest.order_type = 'BRACKET' AND newest.refused) OR newest.kept_here, false)
        AS bracket_refused,
      (SELECT c.close FROM executor_latest_closes c WHERE c.product_id = p.product_id AND c.granularity = :granularity) AS close,
      (
        SELECT max(c.high) FROM executor_candle_highs c
        WHERE :with_high AND c.product_id = p.product_id AND c.granularity = :granularity AND c.start >= entry.as_of
      ) AS high,
      (SELECT w.as_of FROM watermarks w WHERE w.stage = 'market') AS market_time
    FROM positions p
    LEFT JOIN LATERAL (
      SELECT max(o.updated_at) AS at FROM orders o
      WHERE o.product_id = p.product_id AND o.side = 'SELL' AND o.filled_size > 0
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
      SELECT o.state, o.order_type, o.reasons -> 0 ->> 'scope' = 'exchange' AS refused, o.stop_price, o.target_price, o.exit_time,
        o.order_type = 'MARKET' AND o.trigger IS NULL AS kept_here
      FROM orders o
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
        Column("made", Integer),
        Column("stop_price", Amount),
        Column("target_price", Amount),
        Column("exit_time", Time),
        Column("bracket_refused", Boolean),
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
    connection: AsyncConnection, granularity_seconds: int, product_ids: Sequence[ProductId] | None, *, with_high: bool
) -> list[HeldRow]:
    """Positions by product that hold something or have something standing; None: every one. In one statement, and under the
    account lock as nobody else changes them."""
    given = {
        "granularity": granularity_seconds,
        "everything": product_ids is None,
        "product_ids": list(product_ids or ()),
        "with_high": with_high,
    }
    return [HeldRow(_held(row), row.high) for row in await connection.execute(_READ, given)]


def _held(row: Any) -> Held:
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
        made=row.made,
        plan=plan,
        bracket_refused=row.bracket_refused,
        close=row.close,
        market_time=row.market_time,
        due=tuple(_due_of(*values) for values in row.due),
    )


def _due_of(left: str, stop_price: str, target_price: str, exit_time: str | None, trigger: str) -> Due:
    """An element of `DUE`."""
    return Due(BaseSize(Decimal(left)), _plan_of(stop_price, target_price, exit_time), ExitTrigger(trigger))


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
    )


async def trigger_order(connection: AsyncConnection, order_id: UUID, trigger: ExitTrigger) -> OrderRow | None:
    """WAITING → PENDING; None where it does not wait (any more). The account is locked, its trading state was looked at."""
    order = await store.lock_order(connection, order_id)
    if order.state is not OrderState.WAITING or order.cancel_requested_at is not None:
        return None
    return await store.change_order(
        connection,
        order_id,
        state=OrderState.PENDING.value,
        trigger=trigger.value,
        triggered_at=func.clock_timestamp(),
    )
