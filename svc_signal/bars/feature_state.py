"""The SQL of feature_states: the saved state of the features, one row per run and granularity."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.signals import feature_states


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state as stored; `candle_sequence`: every candle up to it that opens by `last_bar` is in the content."""

    feature_set_hash: str
    last_bar: int
    candle_sequence: int
    content: bytes


async def newest(connection: AsyncConnection, run_id: str, granularity: int) -> SavedState | None:
    """The saved state, None if there is none."""
    table = feature_states
    query = select(table.c.feature_set_hash, table.c.last_bar, table.c.candle_sequence, table.c.content).where(
        table.c.run_id == run_id, table.c.granularity == granularity
    )
    row = (await connection.execute(query)).one_or_none()
    return SavedState(*row) if row else None


async def save(connection: AsyncConnection, run_id: str, granularity: int, state: SavedState) -> None:
    """Replaces the saved state."""
    table = feature_states
    given = {
        "feature_set_hash": state.feature_set_hash,
        "last_bar": state.last_bar,
        "candle_sequence": state.candle_sequence,
        "content": state.content,
    }
    row = insert(table).values(run_id=run_id, granularity=granularity, **given)
    key = [table.c.run_id, table.c.granularity]
    await connection.execute(row.on_conflict_do_update(index_elements=key, set_={**given, "saved_at": func.now()}))
