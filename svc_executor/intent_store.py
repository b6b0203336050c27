"""The SQL of intents: what a batch of them is decided by, in one statement under the account lock, and their rows in another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Integer, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from meshkit.dedicated import Connection
from schema.base import Amount, Id, Json, Time
from schema.clocks import Clocks
from schema.execution import orders
from schema.recommendation_terms import terms_of
from schema.views.shared import recommendation_terms
from svc_executor.holding import Holding
from svc_executor.intake_decision import Facts, KnownOrder
from svc_executor.intent import Intent, Protection
from svc_executor.store import FILLS, NOW, UNFILLED, OrderRow, order_of_row
from tradekit.decimals import plain
from tradekit.recommendation import Recommendation
from tradekit.states import Side, TradingState
from tradekit.units import BaseSize, QuoteSize

_FACTS = (
    text("SELECT * FROM intent_facts(:recommendation_ids, :product_ids, :sides, :candle_seconds)")
    .bindparams(
        bindparam("recommendation_ids", type_=ARRAY(Id)),
        bindparam("product_ids", type_=ARRAY(Text)),
        bindparam("sides", type_=ARRAY(Text)),
        bindparam("candle_seconds", type_=Integer),
    )
    .columns(
        Column("trading_state", Text),
        Column("machine", Time),
        Column("market", Time),
        Column("known_order", Id),
        Column("known_hash", Text),
        Column("unknown", ARRAY(Id)),
        Column("unanswered", ARRAY(Id)),
        Column("held", Amount),
        Column("cost", Amount),
        Column("selling", Amount),
        Column("close", Amount),
        *(Column(column.name, column.type) for column in recommendation_terms.c),
    )
)
_WRITE = (
    text(f"SELECT {UNFILLED} FROM write_intents(:intents)")
    .bindparams(bindparam("intents", type_=Json))
    .columns(*orders.c, FILLS, NOW)
)


async def lock_facts(connection: Connection, wanted: Sequence[Recommendation], granularity_seconds: int) -> list[Facts]:
    """Takes the account lock, keeps the stored recommendations from ending, and reads under both what each of the wanted ones
    is decided by; in their order."""
    parameters = {
        "recommendation_ids": [one.recommendation_id for one in wanted],
        "product_ids": [one.product_id for one in wanted],
        "sides": [one.side.value for one in wanted],
        "candle_seconds": granularity_seconds,
    }
    return [_facts(row) for row in (await connection.execute(_FACTS, parameters)).mappings()]


def _facts(row: Any) -> Facts:
    return Facts(
        trading=TradingState(row["trading_state"]),
        clocks=Clocks(row["machine"], row["market"]),
        known=KnownOrder(row["known_order"], row["known_hash"]) if row["known_order"] else None,
        terms=terms_of(row) if row["recommendation_id"] else None,
        unknown=tuple(row["unknown"]),
        unanswered=tuple(row["unanswered"]),
        holding=Holding(BaseSize(row["held"]), QuoteSize(row["cost"]), BaseSize(row["selling"]), row["close"]),
    )


@dataclass(frozen=True, slots=True)
class NewIntent:
    """An intent to write. `counts`: its first send is counted with it; `search_from` is a time of the exchange before that."""

    intent: Intent
    counts: bool = False
    search_from: datetime | None = None


async def write_intents(connection: Connection, wanted: Sequence[NewIntent]) -> dict[UUID, OrderRow]:
    """Writes intents in their order with all that belongs to them; what was written, by order id. An entry whose reservation
    was lost is missing, an exit went without its. The caller has the account lock and has looked at the trading state."""
    rows = await connection.execute(_WRITE, {"intents": [_row(one) for one in wanted]})
    return {row.order_id: order_of_row(row) for row in rows}


def _row(one: NewIntent) -> dict[str, Any]:
    intent, limit = one.intent, one.intent.limit
    bought = plain(limit.size) if limit is not None else None
    return {
        "order_id": str(intent.order_id),
        "recommendation_id": str(intent.recommendation_id) if intent.recommendation_id else None,
        "reservation_id": str(intent.reservation_id) if intent.reservation_id else None,
        "request_hash": intent.request_hash,
        "product_id": intent.product_id,
        "side": intent.side.value,
        "quote_size": plain(intent.size) if intent.side is Side.BUY else None,
        "base_size": plain(intent.size) if intent.side is Side.SELL else bought,
        "body": intent.body,
        "venue": intent.venue.value,
        "ticket_id": str(intent.reservation_id or ""),
        "note": intent.note,
        "as_of": intent.as_of.isoformat(),
        "reference_price": plain(intent.reference_price),
        "expire_at": intent.expire_at.isoformat(),
        "send_count": int(one.counts),
        "search_from": one.search_from.isoformat() if one.search_from else None,
        "state": intent.state.value,
        "purpose": intent.purpose.value,
        "order_type": intent.order_type.value,
        "limit_price": plain(limit.price) if limit is not None else None,
        "end_time": limit.end_time.isoformat() if limit is not None else None,
        **_protection(intent.protection),
    }


def _protection(protection: Protection | None) -> dict[str, Any]:
    if protection is None:
        return {}
    plan = protection.plan
    return {
        "entry_order_id": str(protection.entry_order_id) if protection.entry_order_id else None,
        "stop_price": plain(plan.stop_price),
        "target_price": plain(plan.target_price),
        "exit_time": plan.exit_time.isoformat() if plan.exit_time else None,
        "trigger": protection.trigger.value if protection.trigger else None,
    }
