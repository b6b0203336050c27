"""The SQL of feature_states: the saved state of the features, one row per run, granularity and share of the products."""

from dataclasses import asdict, dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.signals import feature_states


@dataclass(frozen=True, slots=True)
class StateKey:
    """Whose state it is; `shard` as `Shard` writes itself."""

    run_id: str
    granularity: int
    shard: str


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state as stored; `candle_sequence`: every candle up to it that opens by `last_bar` is in the content."""

    feature_set_hash: str
    last_bar: int
    candle_sequence: int
    content: bytes


async def newest(connection: AsyncConnection, key: StateKey) -> SavedState | None:
    """The saved state, None if there is none."""
    table = feature_states
    query = select(table.c.feature_set_hash, table.c.last_bar, table.c.candle_sequence, table.c.content).where(
        table.c.run_id == key.run_id, table.c.granularity == key.granularity, table.c.shard == key.shard
    )
    row = (await connection.execute(query)).one_or_none()
    return SavedState(*row) if row else None


async def save(connection: AsyncConnection, key: StateKey, state: SavedState) -> None:
    """Replaces the saved state."""
    table = feature_states
    given = {
        "feature_set_hash": state.feature_set_hash,
        "last_bar": state.last_bar,
        "candle_sequence": state.candle_sequence,
        "content": state.content,
    }
    row = insert(table).values(**asdict(key), **given)
    unique = list(table.primary_key)
    await connection.execute(row.on_conflict_do_update(index_elements=unique, set_={**given, "saved_at": func.now()}))
