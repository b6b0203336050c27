"""Stores a recommendation as the bridge does, for tests of the stages after it."""

from typing import Any
from uuid import uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from schema.recommendation_rows import evidence_to_json
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
            "state": "IN_REVIEW",
            "sequence": sequence,
            **changes,
        }
        await connection.execute(insert(trade_recommendations).values(values).on_conflict_do_nothing())
    return item
