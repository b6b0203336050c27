"""Removes candles that are stored and wrong, on an operator's word: previewed, counted, and kept in a record.

The candles are moved, not lost: candle_deletions says who, why and what was asked, deleted_candles what was taken out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, insert, literal, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import InvalidRequest, Violation
from schema.market import candle_deletions, crypto_prices, deleted_candles
from schema.streams import CANDLES, take_sequences
from svc_market.wire import DeleteQuery

MOST_DELETED = 100_000
_COLUMNS = ("product_id", "granularity", "start", "open", "high", "low", "close", "volume", "source", "sequence")


@dataclass(frozen=True, slots=True)
class Found:
    """Candles that a deletion means."""

    count: int
    first: datetime | None
    last: datetime | None
    sources: Sequence[str]


async def find(connection: AsyncConnection, query: DeleteQuery) -> Found:
    """What would be deleted now."""
    table = crypto_prices.c
    asked = select(func.count(), func.min(table.start), func.max(table.start), func.array_agg(table.source.distinct()))
    count, first, last, sources = (await connection.execute(asked.where(_meant(query)))).one()
    return Found(count, first, last, tuple(sources or ()))


async def delete_candles(connection: AsyncConnection, query: DeleteQuery, caller: str) -> Found:
    """Moves the candles into the record. InvalidRequest if they are not as many as were previewed."""
    # Under the lock of the stream nothing is added between the count and the deletion.
    await take_sequences(connection, CANDLES, 0)
    found = await find(connection, query)
    if found.count != query.expected_count:
        rule = f"{query.expected_count} were expected and {found.count} are stored now; preview again"
        raise InvalidRequest([Violation("expected_count", "MOVED", rule)])
    if found.count > MOST_DELETED:
        rule = f"{found.count} candles are meant; at most {MOST_DELETED} at once, so split the period"
        raise InvalidRequest([Violation("end_time", "TOO_MANY", rule)])
    if found.count:
        await connection.execute(insert(candle_deletions).values(_record(query, found, caller)))
        await _move(connection, query)
    return found


async def _move(connection: AsyncConnection, query: DeleteQuery) -> None:
    columns = [crypto_prices.c[name] for name in _COLUMNS]
    gone = delete(crypto_prices).where(_meant(query)).returning(*columns).cte("gone")
    taken = select(literal(query.request_id, deleted_candles.c.request_id.type), *(gone.c[name] for name in _COLUMNS))
    await connection.execute(insert(deleted_candles).from_select(["request_id", *_COLUMNS], taken))


def _record(query: DeleteQuery, found: Found, caller: str) -> dict[str, Any]:
    return {
        "request_id": query.request_id,
        "product_id": query.product_id,
        "granularity": query.granularity,
        "start_time": query.start,
        "end_time": query.end,
        "source": query.source,
        "count": found.count,
        "caller": caller,
        "note": query.note,
    }


def _meant(query: DeleteQuery) -> Any:
    table = crypto_prices.c
    return and_(
        table.product_id == query.product_id,
        table.granularity == query.granularity,
        table.start >= query.start,
        table.start < query.end,
        table.source == query.source if query.source else true(),
    )
