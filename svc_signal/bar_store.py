"""The SQL of deciding a bar: one statement reads everything it needs, two write everything it says.

Round trips are what a bar of few products costs, and rows handed over one by one what a bar of many costs. So candles
arrive as packed columns of a single row, and signals leave as one binary COPY.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import asyncpg
import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import database
from svc_signal.candles import BoolArray, CandleArrays, FloatArray, IntArray
from tradekit.bars import unix, utc

_LOCK_SQL = text("SELECT pg_advisory_xact_lock(7406025)")

# A statement of this many candles takes a fraction of the longest time a statement may take.
_MOST_CANDLES = 50_000

_PACKED = """
  string_agg(int8send(place), '') AS place,
  string_agg(int8send(start), '') AS start,
  string_agg(float8send(open), '') AS open,
  string_agg(float8send(high), '') AS high,
  string_agg(float8send(low), '') AS low,
  string_agg(float8send(close), '') AS close,
  string_agg(float8send(volume), '') AS volume
"""
# Prices leave exact numbers here, as statistics do not need them.
_COLUMNS = """
  wanted.place, extract(epoch FROM c.start)::bigint AS start, c.open::float8 AS open, c.high::float8 AS high,
  c.low::float8 AS low, c.close::float8 AS close, c.volume::float8 AS volume
"""
_OF_PRODUCTS = """
  FROM unnest(CAST(:products AS text[])) WITH ORDINALITY AS wanted(product_id, place)
  JOIN crypto_prices AS c USING (product_id)
  WHERE c.granularity = :granularity
"""

_OPEN = text(f"""
  WITH candles AS (
    SELECT {_COLUMNS}, CASE WHEN c.start = :until THEN c.close END AS exact
    {_OF_PRODUCTS} AND c.start > :before AND c.start <= :until
    UNION ALL
    SELECT {_COLUMNS}, NULL
    {_OF_PRODUCTS} AND c.sequence > :sequence AND c.start > :first AND c.start <= :last
  )
  SELECT
    (SELECT as_of FROM watermarks WHERE stage = 'signal') AS mark,
    coalesce((SELECT max(sequence) FROM crypto_prices), 0) AS head,
    EXISTS (
      SELECT 1 FROM trading_signals WHERE as_of = :as_of AND run_id = :run_id AND granularity = :granularity
    ) AS decided,
    array_agg(place) FILTER (WHERE exact IS NOT NULL) AS exact_place,
    array_agg(numeric_send(exact)) FILTER (WHERE exact IS NOT NULL) AS exact,
    array_agg(trim_scale(exact)::text) FILTER (WHERE exact IS NOT NULL) AS shown,
    {_PACKED}
  FROM candles
""")

_BETWEEN = text(f"""
  WITH candles AS (SELECT {_COLUMNS} {_OF_PRODUCTS} AND c.start >= :first AND c.start <= :until)
  SELECT {_PACKED} FROM candles
""")

_FINISH = text("""
  WITH taken AS MATERIALIZED (SELECT take_sequences('signals', :count) AS first WHERE :count > 0)
  SELECT (SELECT first FROM taken) AS first,
    advance_watermark('signal', :as_of, coalesce(
      (SELECT first + :count - 1 FROM taken), (SELECT head FROM stream_heads WHERE stream = 'signals'), 0
    )),
    pg_notify('signals', '')
""")

# A bar of few products is written in one round trip: as `_FINISH`, with the rows.
_FINISH_WITH = text("""
  WITH given AS (
    SELECT * FROM unnest(
      CAST(:ids AS uuid[]), CAST(:products AS text[]), CAST(:sides AS text[]), CAST(:confidence AS float8[]),
      CAST(:down AS float8[]), CAST(:neutral AS float8[]), CAST(:up AS float8[]), CAST(:edge AS float8[]),
      CAST(:net AS float8[]), CAST(:sigma AS float8[]), CAST(:prices AS numeric[]), CAST(:reasons AS jsonb[]),
      CAST(:ready AS boolean[])
    ) WITH ORDINALITY AS row(
      signal_id, product_id, side, confidence, p_down, p_neutral, p_up, edge, expected_net, sigma_horizon,
      reference_price, reasons, ready, place
    )
  ),
  taken AS MATERIALIZED (SELECT take_sequences('signals', :count) AS first),
  stored AS (
    INSERT INTO trading_signals (
      signal_id, product_id, side, confidence, p_down, p_neutral, p_up, edge, expected_net, sigma_horizon,
      reference_price, reasons, features, sequence, run_id, granularity, bar_start, as_of, model_version,
      feature_set_hash, profile
    )
    SELECT signal_id, product_id, side, confidence, p_down, p_neutral, p_up, edge, expected_net, sigma_horizon,
      reference_price, reasons,
      CASE WHEN ready THEN (CAST(:features AS float8[]))[(place - 1) * :width + 1 : place * :width] ELSE '{}' END,
      first + place - 1, :run_id, :granularity, :bar_start, :as_of, :model_version, :feature_set_hash, :profile
    FROM given, taken
  )
  SELECT first, advance_watermark('signal', :as_of, first + :count - 1), pg_notify('signals', '') FROM taken
""")


@dataclass(frozen=True, slots=True)
class Window:
    """What a bar asks for: candles that open after `before` up to `until`, its own; and late or corrected ones, which
    open after `first` up to `last` but were stored after `sequence`."""

    first: datetime
    last: datetime
    sequence: int
    before: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class PackedCandles:
    """Candles of several products as columns, sorted by product and time; `place` counts products from 0."""

    place: IntArray
    start: IntArray
    values: FloatArray
    """(5, n): open, high, low, close, volume."""

    def __len__(self) -> int:
        return len(self.place)

    def where(self, mask: BoolArray) -> "PackedCandles":
        return PackedCandles(self.place[mask], self.start[mask], self.values[:, mask])

    def all_open_at(self, start: int) -> bool:
        """True if they are candles of one bar, on the grid."""
        return bool((self.start == start).all())

    def by_place(self, products: int, start: int) -> tuple[IntArray, FloatArray]:
        """Candles of one bar as (start (P,), values (5, P)); NaN where a product has none."""
        values = np.full((5, products), np.nan)
        values[:, self.place] = self.values
        return np.full(products, start, dtype=np.int64), values

    def by_product(self, products: Sequence[str]) -> dict[str, CandleArrays]:
        """The products that have a candle, each with its columns, oldest first."""
        edges = np.flatnonzero(np.diff(self.place, prepend=-1, append=-1)).tolist()
        return {
            products[self.place[low]]: CandleArrays(self.start[low:high], *self.values[:, low:high])
            for low, high in pairwise(edges)
        }


class Close(NamedTuple):
    """The exact close of a candle: in the binary form of the database's numeric, and as plain text."""

    exact: bytes
    text: str


@dataclass(frozen=True, slots=True)
class BarRead:
    """Everything a bar needs. `mark` is the stage's watermark; `decided`: its signals are stored already.

    `fresh` and `late` are the candles of the window; `sequence`: none stored up to it is missing.
    """

    mark: datetime | None
    decided: bool
    sequence: int
    fresh: PackedCandles
    late: PackedCandles
    closes: dict[str, Close]


async def lock_decisions(connection: AsyncConnection) -> None:
    """Only one process decides at a time; the others find the signals stored."""
    await connection.execute(_LOCK_SQL)


async def read_bar(
    connection: AsyncConnection, run_id: str, granularity: int, products: Sequence[str], window: Window
) -> BarRead:
    """The candles a window asks for, and what is decided already."""
    given = {
        "run_id": run_id,
        "granularity": granularity,
        "products": list(products),
        "first": window.first,
        "last": window.last,
        "before": window.before,
        "until": window.until,
        "as_of": utc(unix(window.until) + granularity),
        "sequence": window.sequence,
    }
    row = (await connection.execute(_OPEN, given)).one()
    candles = _unpack(row)
    fresh = candles.start > unix(window.before)
    closes = zip(row.exact_place or (), row.exact or (), row.shown or (), strict=True)
    return BarRead(
        row.mark,
        row.decided,
        row.head,
        candles.where(fresh),
        candles.where(~fresh),
        {products[place - 1]: Close(exact, shown) for place, exact, shown in closes},
    )


async def _candles(
    connection: AsyncConnection, granularity: int, products: Sequence[str], first: datetime, until: datetime
) -> PackedCandles:
    """Every candle of the products that opens in [first, until]."""
    given = {"granularity": granularity, "products": list(products), "first": first, "until": until}
    return _unpack((await connection.execute(_BETWEEN, given)).one())


async def history(
    connection: AsyncConnection, granularity: int, products: Sequence[str], first: datetime, until: datetime
) -> dict[str, CandleArrays]:
    """Stored candles of many bars by product, in statements of bounded size; a product without any has no entry."""
    bars = (unix(until) - unix(first)) // granularity + 1
    size = max(1, _MOST_CANDLES // max(1, bars))
    found: dict[str, CandleArrays] = {}
    for at in range(0, len(products), size):
        some = products[at : at + size]
        found.update((await _candles(connection, granularity, some, first, until)).by_product(some))
    return found


def _unpack(row: Any) -> PackedCandles:
    place, start = (np.frombuffer(packed or b"", ">i8").astype(np.int64) for packed in (row.place, row.start))
    order = np.lexsort((start, place))
    columns = (row.open, row.high, row.low, row.close, row.volume)
    values = np.stack([np.frombuffer(packed or b"", ">f8").astype(np.float64) for packed in columns])
    return PackedCandles(place[order] - 1, start[order], np.ascontiguousarray(values[:, order]))


async def finish_bar(connection: AsyncConnection, as_of: datetime, count: int) -> int:
    """Takes the bar's sequences, moves the watermark past it and wakes watchers; gives the first sequence."""
    row = (await connection.execute(_FINISH, {"as_of": as_of, "count": count})).one()
    return int(row.first or 0)


async def finish_bar_with(connection: AsyncConnection, given: Mapping[str, Any]) -> int:
    """As `finish_bar`, with the signals themselves, given as columns; for few of them."""
    return int((await connection.execute(_FINISH_WITH, given)).one().first)


async def copy_in(connection: AsyncConnection, table: str, columns: Sequence[str], content: bytes) -> None:
    """Rows into a table, as binary COPY, in the connection's transaction, which has begun."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    try:
        await driver.copy_to_table(table, source=_whole(content), columns=columns, format="binary")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        outage = database.as_unavailable(error)
        if outage is None:
            raise
        raise outage from error


async def _whole(content: bytes) -> Any:
    yield content
