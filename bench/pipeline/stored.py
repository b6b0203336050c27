"""Stores finished recommendations directly in the tables, so that a mesh with a history can be measured.

They never went through the mesh: one that did is copied with every row it left behind, under ids of its own and in the
past. What the copies booked cancels out in pairs, so that the ledger still agrees with the exchange. Their sequences are
below zero: nobody who watches hears of them.
"""

from collections.abc import Callable
from uuid import UUID

from bench.pipeline.figures import EXECUTED
from bench.pipeline.load import Creator
from bench.pipeline.mesh import PRODUCTS, Bench, BenchFailed

CHUNK = 5_000
_CHUNK_SECONDS = 600.0
_ENDED_SECONDS = 60.0


def _id(kind: str) -> str:
    return f"md5('bench-{kind}-' || i)::uuid"


_PAST = "interval '3 hours' + i * interval '1 minute'"
_REQUEST = "md5('bench-request-' || i || t.request_id)::uuid"
_SAME = {"recommendation_id": _id("recommendation"), "created_at": f"t.created_at - ({_PAST})"}
_AS_OF = {"as_of": f"t.as_of - ({_PAST})"}
_UPDATED = {"updated_at": f"t.updated_at - ({_PAST})"}
_FILL = "'bench-' || i || '-' || "
# By table: which rows the copied recommendation left there, and what differs in a copy. Parents before children.
_COPIES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "trade_recommendations",
        "t.recommendation_id = $3",
        {
            **_SAME,
            **_AS_OF,
            **_UPDATED,
            "request_id": _REQUEST,
            "expire_at": f"t.expire_at - ({_PAST})",
            "order_id": _id("order"),
            "sequence": "-i",
        },
    ),
    (
        "recommendation_events",
        "t.recommendation_id = $3",
        {**_SAME, **_AS_OF, "sequence": "t.sequence - i::bigint * 100000000"},
    ),
    (
        "stored_requests",
        "t.request_id IN ($3, (SELECT request_id FROM trade_recommendations WHERE recommendation_id = $3))",
        {"request_id": _REQUEST, "created_at": _SAME["created_at"]},
    ),
    (
        "llm_validation",
        "t.recommendation_id = $3",
        {
            **_SAME,
            "validation_id": _id("validation"),
            "review_id": "nextval(pg_get_serial_sequence('llm_validation', 'review_id'))",
        },
    ),
    ("risk_assessments", "t.recommendation_id = $3", {**_SAME, **_AS_OF, "assessment_id": _id("assessment")}),
    (
        "risk_reservations",
        "t.recommendation_id = $3",
        {
            **_SAME,
            **_AS_OF,
            **_UPDATED,
            "reservation_id": _id("assessment"),
            "order_id": _id("order"),
            "expires_at": f"t.expires_at - ({_PAST})",
        },
    ),
    (
        "orders",
        "t.recommendation_id = $3",
        {
            **_SAME,
            **_AS_OF,
            **_UPDATED,
            "order_id": _id("order"),
            "reservation_id": _id("assessment"),
            "exchange_order_id": "'bench-' || i",
            "expire_at": f"t.expire_at - ({_PAST})",
            "done_at": f"t.done_at - ({_PAST})",
            "search_from": f"t.search_from - ({_PAST})",
            "sequence": "-i",
        },
    ),
    (
        "fills",
        "t.order_id = (SELECT order_id FROM orders WHERE recommendation_id = $3)",
        {
            **_AS_OF,
            "fill_id": f"{_FILL}t.fill_id",
            "trade_id": f"{_FILL}t.trade_id",
            "order_id": _id("order"),
            "trade_time": f"t.trade_time - ({_PAST})",
            "created_at": _SAME["created_at"],
        },
    ),
    (
        "ledger_entries",
        "t.order_id = (SELECT order_id FROM orders WHERE recommendation_id = $3)",
        {
            **_AS_OF,
            "entry_id": "nextval(pg_get_serial_sequence('ledger_entries', 'entry_id'))",
            "transaction_id": f"{_FILL}t.transaction_id",
            "order_id": _id("order"),
            "amount": "CASE WHEN i % 2 = 0 THEN -t.amount ELSE t.amount END",
            "created_at": _SAME["created_at"],
        },
    ),
)
_BALANCES = """
    SELECT coalesce(string_agg(account || ' ' || currency || ' ' || total, ', ' ORDER BY account, currency), '') FROM
      (SELECT account, currency, sum(amount) AS total FROM ledger_entries GROUP BY account, currency) AS sums
"""


def copy_statement(table: str, which: str, changes: dict[str, str]) -> str:
    """Copies $1 to $2 of a table's rows of recommendation $3. A column that is not named keeps its value, so a new one
    needs no word here."""
    pairs = ", ".join(f"'{column}', {expression}" for column, expression in changes.items())
    return (
        f"INSERT INTO {table} SELECT copy.* FROM generate_series($1::int, $2::int) AS i CROSS JOIN {table} AS t "
        f"CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(t) || jsonb_build_object({pairs})) AS copy "
        f"WHERE {which}"
    )


async def store(bench: Bench, count: int, progress: Callable[[int], None]) -> None:
    """So many finished recommendations; BenchFailed if the ledger does not come to the same afterwards."""
    template = await _template(bench)
    before = await bench.rows.value(_BALANCES)
    await bench.rows.execute("SET synchronous_commit = off")
    for first in range(1, count + 1, CHUNK):
        last = min(first + CHUNK - 1, count)
        for table, which, changes in _COPIES:
            statement = copy_statement(table, which, changes)
            await bench.rows.execute(statement, first, last, template, seconds=_CHUNK_SECONDS)
        progress(last - first + 1)
    await bench.rows.execute("SET synchronous_commit = on")
    if await bench.rows.value(_BALANCES) != before:
        raise BenchFailed(
            "the stored recommendations changed the ledger's sums; bench/pipeline/stored.py is out of date"
        )
    await bench.rows.execute("ANALYZE", seconds=_CHUNK_SECONDS)
    await bench.rows.execute("CHECKPOINT", seconds=_CHUNK_SECONDS)


async def _template(bench: Bench) -> UUID:
    load = await Creator(bench.bridge, PRODUCTS).burst(1)
    await bench.rows.until_ended(_ENDED_SECONDS)
    found = await bench.rows.moments(load.ids)
    if not found or found[0].state != EXECUTED:
        raise BenchFailed(f"the recommendation that is to be copied was not executed: {found or dict(load.refused)}")
    return load.ids[0]
