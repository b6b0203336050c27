"""Reads the database's side of a history in one snapshot, with plain SQL: nothing of the mesh's own stores is used."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Protocol

from tests.drill.history import AlertRow, DatabaseSide, OrderRow, RecommendationRow

_READ_SECONDS = 10.0
_ENDED = ("EXECUTED", "REJECTED", "EXPIRED", "FAILED")
_ALL = """
SELECT
  (SELECT coalesce(json_agg(o), '[]') FROM (
     SELECT order_id, recommendation_id, product_id, side, state, exchange_order_id, filled_size::text AS filled, reasons,
            CASE WHEN purpose = 'PROTECTION' THEN (base_size - filled_size)::text ELSE '0' END AS left,
            state = 'WAITING' OR (state = 'OPEN' AND order_type <> 'MARKET') AS rests
     FROM orders ORDER BY created_at) o)::text AS orders,
  (SELECT coalesce(json_agg(r), '[]') FROM (
     SELECT recommendation_id, product_id, side, state, reasons, extract(epoch FROM created_at) AS created,
            extract(epoch FROM updated_at) AS updated
     FROM trade_recommendations ORDER BY created_at) r)::text AS recommendations,
  (SELECT coalesce(json_agg(a), '[]') FROM (
     SELECT code, scope, message, extract(epoch FROM raised_at) AS raised, extract(epoch FROM resolved_at) AS resolved
     FROM alerts ORDER BY raised_at) a)::text AS alerts,
  (SELECT coalesce(json_object_agg(currency, amount), '{}') FROM (
     SELECT currency, sum(amount)::text AS amount FROM ledger_entries
     WHERE account IN ('exchange', 'unadopted') GROUP BY currency) l
  )::text AS ledger,
  (SELECT coalesce(json_object_agg(product_id, base_size::text), '{}') FROM positions)::text AS positions,
  (SELECT coalesce(json_object_agg(product_id, (greatest(base_min_size, base_increment)
     + 2 * quote_min_size / (SELECT c.close FROM crypto_prices c WHERE c.product_id = p.product_id ORDER BY c.start DESC LIMIT 1)
     )::text), '{}')
   FROM products p WHERE EXISTS (SELECT FROM crypto_prices c WHERE c.product_id = p.product_id))::text AS smallest,
  extract(epoch FROM clock_timestamp()) AS now
"""


class Fetches(Protocol):
    """Who can read rows of the ledger."""

    async def fetch(self, query: str, *arguments: object) -> list[Any]: ...


class LedgerRows:
    """Reads by one connection that is kept; waits up to `back_seconds` for a database that is on its way back."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], back_seconds: float) -> None:
        self._connect = connect
        self._back_seconds = back_seconds
        self._connection: Any = None
        self._reading = asyncio.Lock()

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """The rows of a query."""
        end = time.monotonic() + self._back_seconds
        while True:
            try:
                async with self._reading, asyncio.timeout(_READ_SECONDS):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self._connect()
                    return list(await self._connection.fetch(query, *arguments))
            except Exception:
                self.disconnect()
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.1)

    def disconnect(self) -> None:
        """Ends the connection; the next read makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def database_side(ledger: Fetches) -> DatabaseSide:
    """The ledger as it stands."""
    row = (await ledger.fetch(_ALL))[0]
    return DatabaseSide(
        orders=tuple(_order(one) for one in json.loads(row["orders"])),
        recommendations=tuple(_recommendation(one) for one in json.loads(row["recommendations"])),
        alerts=tuple(_alert(one) for one in json.loads(row["alerts"])),
        ledger={name: Decimal(text) for name, text in json.loads(row["ledger"]).items()},
        positions={name: Decimal(text) for name, text in json.loads(row["positions"]).items()},
        now=float(row["now"]),
        smallest={name: Decimal(text) for name, text in json.loads(row["smallest"]).items()},
    )


def _codes(reasons: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{one['code']} {one.get('observed', '')}".strip() for one in reasons)


def _order(row: dict[str, Any]) -> OrderRow:
    return OrderRow(
        order_id=row["order_id"],
        recommendation_id=row["recommendation_id"],
        product=row["product_id"],
        side=row["side"],
        state=row["state"],
        exchange_order_id=row["exchange_order_id"],
        filled_size=Decimal(row["filled"]),
        reasons=_codes(row["reasons"]),
        left=Decimal(row["left"]),
        rests=row["rests"],
    )


def _recommendation(row: dict[str, Any]) -> RecommendationRow:
    return RecommendationRow(
        recommendation_id=row["recommendation_id"],
        product=row["product_id"],
        side=row["side"],
        state=row["state"],
        created=row["created"],
        ended=row["updated"] if row["state"] in _ENDED else None,
        reasons=_codes(row["reasons"]),
    )


def _alert(row: dict[str, Any]) -> AlertRow:
    return AlertRow(row["code"], row["scope"], row["message"], row["raised"], row["resolved"])
