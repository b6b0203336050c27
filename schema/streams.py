"""Sequences, watermarks and wake-ups: the SQL that every service's store shares."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.operations import watermarks

# Streams, one per watchable table; the wake-up channel of a stream has the same name.
CANDLES = "candles"
SIGNALS = "signals"
RECOMMENDATIONS = "recommendations"
DECISIONS = "decisions"
ORDERS = "orders"
ALERTS = "alerts"
# Wakes listeners whenever any stage's watermark moves.
WATERMARKS = "watermarks"
# Wakes listeners when the equity of one more bar is marked.
EQUITY_SNAPSHOTS = "equity_snapshots"
# Wakes orchestrators: there is something to claim. Watchers of recommendations are woken by every change of one.
PROPOSALS = "proposals"

# The market's second watermark, written only while its own stands still: the close that the exchange's time says it should have
# reached. It is behind for as long as its own is less.
MARKET_DUE = "market:due"

_TAKE = text("SELECT take_sequences(:stream, :count)")
_ADVANCE = text("SELECT advance_watermark(:stage, :as_of, :sequence)")
_NOTIFY = text("SELECT pg_notify(:channel, '')").bindparams(bindparam("channel"))


async def take_sequences(connection: AsyncConnection, stream: str, count: int) -> range:
    """The next `count` sequences of a stream. Take them last in a transaction: the stream waits until its commit.

    Of several streams in the order in which they stand above, so that two transactions never wait for each other.
    """
    first = (await connection.execute(_TAKE, {"stream": stream, "count": count})).scalar_one()
    return range(first, first + count)


async def notify(connection: AsyncConnection, channel: str) -> None:
    """Wakes the channel's listeners when this transaction commits."""
    await connection.execute(_NOTIFY, {"channel": channel})


async def advance_watermark(connection: AsyncConnection, stage: str, as_of: datetime, sequence: int) -> None:
    """Moves a stage's watermark forward, never back, and wakes listeners on commit."""
    await connection.execute(_ADVANCE, {"stage": stage, "as_of": as_of, "sequence": sequence})


@dataclass(frozen=True, slots=True)
class Watermark:
    """A stage's watermark: newest market time fully dealt with, and the head of its stream then."""

    as_of: datetime
    sequence: int


async def read_watermark(connection: AsyncConnection, stage: str) -> Watermark | None:
    """A stage's watermark, None before the first."""
    query = select(watermarks.c.as_of, watermarks.c.sequence).where(watermarks.c.stage == stage)
    row = (await connection.execute(query)).one_or_none()
    return Watermark(row.as_of, row.sequence) if row else None


def record_key(record_id: UUID) -> int:
    """The advisory lock that stands for a record."""
    return int.from_bytes(record_id.bytes[:8], signed=True)
