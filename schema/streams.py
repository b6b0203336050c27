"""Sequences, watermarks, wake-ups and stored requests: the SQL that every service's store shares."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.operations import stored_requests, watermarks

# Streams, one per watchable table; the wake-up channel of a stream has the same name.
CANDLES = "candles"
SIGNALS = "signals"
RECOMMENDATIONS = "recommendations"
DECISIONS = "decisions"
ORDERS = "orders"
ALERTS = "alerts"
# Wakes listeners whenever any stage's watermark moves.
WATERMARKS = "watermarks"
# Order in which a transaction takes sequences of several streams, so that two never wait for each other.
STREAM_ORDER = (CANDLES, SIGNALS, RECOMMENDATIONS, DECISIONS, ORDERS, ALERTS)

_TAKE = text("SELECT take_sequences(:stream, :count)")
_ADVANCE = text("SELECT advance_watermark(:stage, :as_of, :sequence)")
_NOTIFY = text("SELECT pg_notify(:channel, '')").bindparams(bindparam("channel"))


async def take_sequences(connection: AsyncConnection, stream: str, count: int) -> range:
    """The next `count` sequences of a stream. Take them last in a transaction: the stream waits until its commit."""
    first = (await connection.execute(_TAKE, {"stream": stream, "count": count})).scalar_one()
    return range(first, first + count)


async def notify(connection: AsyncConnection, channel: str) -> None:
    """Wakes the channel's listeners when this transaction commits."""
    await connection.execute(_NOTIFY, {"channel": channel})


async def advance_watermark(connection: AsyncConnection, stage: str, as_of: datetime, sequence: int) -> None:
    """Moves a stage's watermark forward, never back, and wakes listeners on commit."""
    await connection.execute(_ADVANCE, {"stage": stage, "as_of": as_of, "sequence": sequence})


@dataclass(frozen=True, slots=True)
class StageMark:
    """A stage's watermark: newest market time fully dealt with, and the head of its stream then."""

    as_of: datetime
    sequence: int


async def read_watermark(connection: AsyncConnection, stage: str) -> StageMark | None:
    """A stage's watermark, None before the first."""
    query = select(watermarks.c.as_of, watermarks.c.sequence).where(watermarks.c.stage == stage)
    row = (await connection.execute(query)).one_or_none()
    return StageMark(row.as_of, row.sequence) if row else None


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request that was answered before: hash of its body and the answer's bytes."""

    body_sha256: str
    response: bytes


def request_lock(caller: str, request_id: UUID) -> Any:
    """SQL that makes a second call of a caller with the same request_id wait until the first one's transaction ends."""
    digest = hashlib.sha256(caller.encode() + request_id.bytes).digest()
    return func.pg_advisory_xact_lock(int.from_bytes(digest[:8], signed=True))


def record_lock(record_id: UUID) -> Any:
    """SQL that makes others who write about the same record wait until this transaction ends."""
    return func.pg_advisory_xact_lock(int.from_bytes(record_id.bytes[:8], signed=True))


async def find_request(
    connection: AsyncConnection, service: str, caller: str, request_id: UUID
) -> StoredRequest | None:
    """The stored answer of a caller's request_id, None if it is new. What others call by the same id is not its own."""
    table = stored_requests
    query = select(table.c.body_sha256, table.c.response).where(
        table.c.service == service, table.c.caller == caller, table.c.request_id == request_id
    )
    row = (await connection.execute(query)).one_or_none()
    return StoredRequest(row.body_sha256, row.response) if row else None


async def store_request(
    connection: AsyncConnection,
    service: str,
    caller: str,
    request_id: UUID,
    method: str,
    body_sha256: str,
    response: bytes,
) -> None:
    """Stores an answer in the transaction of its effect; a second one with the same id breaks that transaction."""
    await connection.execute(
        insert(stored_requests).values(
            service=service,
            caller=caller,
            request_id=request_id,
            method=method,
            body_sha256=body_sha256,
            response=response,
        )
    )


def chunks(rows: Sequence[dict[str, object]], columns: int) -> list[Sequence[dict[str, object]]]:
    """Rows split so that no statement passes PostgreSQL's 32,767 bound parameters."""
    size = max(1, 32_000 // columns)
    return [rows[start : start + size] for start in range(0, len(rows), size)]
