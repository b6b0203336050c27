"""What the tables say of the recommendations of a load: whether they have ended, and when each step of them happened.

Every moment is the database's clock. `created`, `in_review`, `executing` and `ended` are `created_at` of the rows that say
so, and `ordered` of the order's: now(), the begin of the transaction that wrote them. `reviewed` is `created_at` of the
enforced review and `recorded` `done_at` of the order, when the exchange first called it done. `assessed` is `created_at` of
the assessment, the machine time it was made at. No column keeps the time of a send: `orders.sent_at` is emptied with the
exchange's answer. So while `sends_noted` lasts, a trigger at the commit that the bytes follow writes clock_timestamp() into
an unlogged table: some ten microseconds that only the paced loads pay.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from bench.pipeline.figures import Moments

LOOK_SECONDS = 0.5
_OPEN = "SELECT count(*) FROM trade_recommendations WHERE state IN ('PROPOSED', 'IN_REVIEW', 'EXECUTING')"
_NOTE_SENDS = """
    CREATE UNLOGGED TABLE IF NOT EXISTS bench_sends (order_id uuid PRIMARY KEY, sent_at timestamptz NOT NULL);
    CREATE OR REPLACE FUNCTION bench_note_send() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO bench_sends VALUES (NEW.order_id, clock_timestamp()) ON CONFLICT DO NOTHING;
      RETURN NULL;
    END
    $$;
    DROP TRIGGER IF EXISTS bench_note_send ON orders;
    CREATE CONSTRAINT TRIGGER bench_note_send AFTER INSERT OR UPDATE ON orders DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.send_count > 0) EXECUTE FUNCTION bench_note_send();
"""
_MOMENTS = """
    SELECT r.recommendation_id, r.state, r.reasons, r.created_at AS created, r.delays, r.delay_reason->>'code' AS delay,
           e.in_review, e.executing, e.ended, v.reviewed, a.assessed,
           o.created_at AS ordered, o.done_at AS recorded, {sent} AS sent, (o.order_id IS NOT NULL)::int AS orders
    FROM trade_recommendations r
    LEFT JOIN LATERAL (
      SELECT min(created_at) FILTER (WHERE to_state = 'IN_REVIEW') AS in_review,
             min(created_at) FILTER (WHERE to_state = 'EXECUTING') AS executing,
             min(created_at) FILTER (WHERE to_state IN ('EXECUTED', 'REJECTED', 'EXPIRED', 'FAILED')) AS ended
      FROM recommendation_events e WHERE e.recommendation_id = r.recommendation_id
    ) e ON true
    LEFT JOIN LATERAL (
      SELECT min(created_at) AS reviewed FROM llm_validation v
      WHERE v.recommendation_id = r.recommendation_id AND v.enforced IS NOT NULL
    ) v ON true
    LEFT JOIN LATERAL (
      SELECT max(created_at) AS assessed FROM risk_assessments a WHERE a.recommendation_id = r.recommendation_id
    ) a ON true
    LEFT JOIN orders o ON o.recommendation_id = r.recommendation_id
    {join}
    WHERE r.recommendation_id = ANY($1::uuid[])
"""
_TIMES = ("created", "in_review", "reviewed", "assessed", "executing", "ordered", "sent", "recorded", "ended")


class Rows:
    """Reads the tables over a connection of its own."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._notes = False

    async def value(self, query: str, *values: object) -> Any:
        """One value of one row."""
        return await self._connection.fetchval(query, *values, timeout=60)

    async def row(self, query: str, *values: object) -> dict[str, Any]:
        """One row."""
        return dict(await self._connection.fetchrow(query, *values, timeout=60))

    async def open(self) -> int:
        """Recommendations that have not ended."""
        return int(await self.value(_OPEN))

    async def until_ended(self, seconds: float, look: float = LOOK_SECONDS) -> bool:
        """Waits until none is open; False if that took longer than `seconds`."""
        end = time.monotonic() + seconds
        while await self.open():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(look)
        return True

    async def moments(self, ids: Sequence[UUID]) -> list[Moments]:
        """What the rows say of each of these."""
        sent, join = (
            ("s.sent_at", "LEFT JOIN bench_sends s ON s.order_id = o.order_id") if self._notes else ("NULL", "")
        )
        rows = await self._connection.fetch(_MOMENTS.format(sent=sent, join=join), list(ids), timeout=120)
        return [_moments(row) for row in rows]

    async def execute(self, statement: str, *values: object, seconds: float = 60) -> None:
        """A statement of the bench itself."""
        await self._connection.execute(statement, *values, timeout=seconds)

    @asynccontextmanager
    async def sends_noted(self) -> AsyncIterator[None]:
        """While it lasts, the moment of each first send is written down."""
        await self.execute(_NOTE_SENDS)
        self._notes = True
        try:
            yield
        finally:
            await self.execute("DROP TRIGGER bench_note_send ON orders")


def _moments(row: Any) -> Moments:
    reasons = json.loads(row["reasons"]) if isinstance(row["reasons"], str) else row["reasons"]
    at = {name: row[name] for name in _TIMES if row[name] is not None}
    return Moments(
        at,
        row["state"],
        tuple(str(reason.get("code", "?")) for reason in reasons),
        row["orders"],
        row["delays"],
        row["delay"] or "",
    )
