"""Stores a recommendation as the bridge does and an order as the executor does, for tests of those who read them."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.execution import orders
from schema.recommendation_rows import evidence_to_json, exit_plan_to_json
from schema.recommendations import trade_recommendations
from schema.streams import RECOMMENDATIONS, take_sequences
from tradekit.recommendation import Recommendation
from tradekit.states import Origin


async def store_recommendation(engine: AsyncEngine, item: Recommendation, **changes: Any) -> Recommendation:
    """Writes its row in state IN_REVIEW, unless there is one."""
    from_signal = item.origin is Origin.SIGNAL
    async with engine.begin() as connection:
        sequence = (await take_sequences(connection, RECOMMENDATIONS, 1))[0]
        values = {
            "recommendation_id": item.recommendation_id,
            "run_id": "test",
            "origin": item.origin.value,
            "signal_id": uuid4() if from_signal else None,
            "request_id": None if from_signal else uuid4(),
            "product_id": item.product_id,
            "side": item.side.value,
            "size": item.size,
            "reference_price": item.reference_price,
            "as_of": item.as_of,
            "expire_at": item.expire_time,
            "life_clock": item.life_clock.value,
            "profile": item.profile.value,
            "priority": item.priority,
            "evidence": evidence_to_json(item.evidence) if item.evidence else None,
            "note": item.note,
            "exit_plan": exit_plan_to_json(item.exit_plan) if item.exit_plan else None,
            "state": "IN_REVIEW",
            "sequence": sequence,
            **changes,
        }
        await connection.execute(insert(trade_recommendations).values(values).on_conflict_do_nothing())
    return item


async def store_order(
    engine: AsyncEngine, product_id: str, side: str, state: str, as_of: datetime, **changes: Any
) -> UUID:
    """Writes an order's row; its id. An amount that is not named is 1, of quote for a BUY and of base for a SELL."""
    sized = changes.keys() & {"quote_size", "base_size"}
    values = {
        "order_id": uuid4(),
        "recommendation_id": uuid4(),
        "reservation_id": uuid4(),
        "request_hash": "x",
        "product_id": product_id,
        "side": side,
        **({} if sized else {"quote_size" if side == "BUY" else "base_size": 1}),
        "body": "{}",
        "state": state,
        "venue": "SIMULATED",
        "ticket_id": "t",
        "as_of": as_of,
        "reference_price": 1,
        "expire_at": as_of,
        "sequence": uuid4().int % 10**12,
        "purpose": "ENTRY" if side == "BUY" else "EXIT" if changes.get("recommendation_id", True) else "CLOSE",
        **changes,
    }
    async with engine.begin() as connection:
        await connection.execute(insert(orders).values(values))
    return UUID(str(values["order_id"]))


async def unlock_rows(engine: AsyncEngine, *tables: str) -> None:
    """Lets a test change rows that are written once, as whoever mends them by hand does."""
    async with engine.begin() as connection:
        for table in tables:
            await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER append_only"))
