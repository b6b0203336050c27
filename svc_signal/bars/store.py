"""The SQL of deciding a bar: one statement reads everything it needs, one or two write everything it says.

Round trips are what a bar of few products costs, and rows handed over one by one what a bar of many costs. So candles
arrive as packed columns of a single row, signals leave as one statement or one COPY, and the statements go
straight to the driver. Nothing is locked while a bar is thought about: what is written counts only if the watermark is
still the one that was read.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import database
from modelkit.candle_reader import COLUMNS, PACKED, PackedCandles, unpack
from schema.signals import SIGNAL_NUMBERS
from svc_signal.shard import STAGE, Shard
from tradekit.bars import unix, utc

# A signal that is there already, by the name that follows from its product and bar.
StoredAlready = asyncpg.UniqueViolationError
_LOCK = "SELECT pg_advisory_xact_lock(7406025)"


def _opening(shard: Shard) -> str:
    """Every part is read by one index whatever its parameters are, as a plan that is made once serves all bars: `own` by the
    time, `late` by a range of sequences with both its ends, which the planner takes for a small one."""
    return f"""
      WITH head AS MATERIALIZED (SELECT coalesce(max(sequence), 0) AS sequence FROM signal_candles),
      own AS MATERIALIZED (
        SELECT * FROM signal_candles WHERE granularity = $1 AND start > $3 AND start <= $4
      ),
      late AS MATERIALIZED (
        SELECT * FROM signal_candles WHERE sequence > $5 AND sequence <= (SELECT sequence FROM head)
      ),
      wanted AS MATERIALIZED (
        SELECT product_id, place FROM unnest($2::text[]) WITH ORDINALITY AS given(product_id, place)
      ),
      candles AS (
        SELECT {COLUMNS}, CASE WHEN c.start = $4 THEN c.close END AS exact FROM wanted JOIN own AS c USING (product_id)
        UNION ALL
        SELECT {COLUMNS}, NULL FROM wanted JOIN late AS c USING (product_id)
        WHERE c.granularity = $1 AND c.start > $6 AND c.start <= $7
      )
      SELECT
        (SELECT as_of FROM watermarks WHERE stage = '{shard.stage}') AS watermark,
        (SELECT sequence FROM head) AS head,
        (
          SELECT array_agg(product_id) FROM trading_signals WHERE as_of = $8 AND run_id = $9 AND granularity = $1
        ) AS decided,
        coalesce((SELECT head FROM stream_heads WHERE stream = 'signals'), 0) AS signals,
        array_agg(numeric_send(exact)) AS exact,
        array_agg(trim_scale(exact)::text) AS shown,
        {PACKED}
      FROM candles
    """


def _held(shard: Shard) -> str:
    """Holds the watermark that was read, $1, until the commit; no row if another process has moved it. Without a watermark
    there is nothing to hold: `transaction` is for that case."""
    return f"""
      locked AS MATERIALIZED (SELECT FROM watermarks WHERE stage = '{shard.stage}' AND as_of = $1 FOR UPDATE),
      held AS MATERIALIZED (
        SELECT FROM locked UNION ALL
        SELECT WHERE $1 IS NULL AND NOT EXISTS (SELECT FROM watermarks WHERE stage = '{shard.stage}')
      )
    """


def _advancing(shard: Shard, sequence: str) -> str:
    """Moves the watermark to $2, with a sequence up to which nothing is missing."""
    if shard.alone:
        return f"advance_watermark('{STAGE}', $2, {sequence})"
    return f"advance_shard_watermark('{STAGE}', {shard.index}, {shard.count}, $2, {sequence})"


def _finishing(shard: Shard) -> str:
    head = "coalesce(first + $3 - 1, (SELECT head FROM stream_heads WHERE stream = 'signals'), 0)"
    return f"""
      WITH {_held(shard)},
      taken AS MATERIALIZED (
        SELECT CASE WHEN $3::bigint > 0 THEN take_sequences('signals', $3) END AS first FROM held
      )
      SELECT coalesce(first, 0) AS first, pg_notify('signals', ''), {_advancing(shard, head)} FROM taken
    """


# What a signal shares with no other of its bar, as parallel arrays, $3 and on.
_OWN = (
    *(("signal_id", "uuid"), ("product_id", "text"), ("side", "text")),
    *((name, "float8") for name in SIGNAL_NUMBERS),
    *(("reference_price", "numeric"), ("reasons", "jsonb"), ("ready", "boolean")),
)
_STORED = ", ".join(name for name, _ in _OWN if name != "ready")
_AFTER = 3 + len(_OWN)


def _finishing_with(shard: Shard) -> str:
    """A bar of few products is written in one round trip: as `_finishing`, with the rows."""
    return f"""
      WITH {_held(shard)},
      given AS (
        SELECT * FROM unnest({", ".join(f"${3 + at}::{kind}[]" for at, (_, kind) in enumerate(_OWN))})
        WITH ORDINALITY AS row({", ".join(name for name, _ in _OWN)}, place)
      ),
      taken AS MATERIALIZED (SELECT take_sequences('signals', cardinality($3)) AS first FROM held),
      stored AS (
        INSERT INTO trading_signals (
          {_STORED}, features, sequence, run_id, granularity, bar_start, as_of, model_version, feature_set_hash, profile
        )
        SELECT {_STORED},
          CASE WHEN ready
            THEN (${_AFTER}::float8[])[(place - 1) * ${_AFTER + 1} + 1 : place * ${_AFTER + 1}] ELSE '{{}}'
          END,
          first + place - 1, ${_AFTER + 2}, ${_AFTER + 3}, ${_AFTER + 4}, $2, ${_AFTER + 5}, ${_AFTER + 6}, ${_AFTER + 7}
        FROM given, taken
      )
      SELECT first, pg_notify('signals', ''), {_advancing(shard, "first + cardinality($3) - 1")} FROM taken
    """


# Where a share begins that has no watermark yet, or one of long ago, when there were as many: where the stage stands.
_JOIN = """
  INSERT INTO watermarks AS own (stage, as_of, sequence) SELECT $2, as_of, sequence FROM watermarks WHERE stage = $1
  ON CONFLICT (stage) DO UPDATE SET as_of = greatest(own.as_of, excluded.as_of),
    sequence = greatest(own.sequence, excluded.sequence)
"""

# Signals of the bar, and no check that was taken at it.
_OWED = """
  SELECT EXISTS (
    SELECT FROM trading_signals WHERE as_of = $1 AND run_id = $2 AND granularity = $3 AND model_version = $4
  ) AND NOT EXISTS (SELECT FROM model_drift WHERE as_of = $1 AND run_id = $2 AND model_version = $4)
"""


@dataclass(frozen=True, slots=True)
class Window:
    """What a bar asks for: candles that open after `before` up to `until`, its own; and late or corrected ones, which
    open after `first` up to `last` but were stored after `sequence`."""

    first: datetime
    last: datetime
    sequence: int
    before: datetime
    until: datetime


class Close(NamedTuple):
    """The exact close of a candle: in the binary form of the database's numeric, and as plain text."""

    exact: bytes
    text: str


@dataclass(frozen=True, slots=True)
class BarRead:
    """Everything a bar needs. `watermark` is the share's watermark; `decided` are products of
    which a signal of the bar is stored already; `signals` is the newest sequence of the stream of signals.

    `fresh` and `late` are the candles of the window; `sequence`: none stored up to it is missing; `closes` are those of
    the bar's candles, by product.
    """

    watermark: datetime | None
    decided: frozenset[str]
    signals: int
    sequence: int
    fresh: PackedCandles
    late: PackedCandles
    closes: dict[str, Close]


async def prepare(connection: AsyncConnection) -> None:
    """Makes a connection ready for these statements, all of which look rows up by an index.

    Their plans are made once, maybe while a table is empty and reading all of it costs nothing; by such a plan each bar
    would cost more than the one before.
    """
    with database.answering():
        await _driver(connection).execute("SET enable_seqscan = off")


@asynccontextmanager
async def transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """One transaction on a connection whose statements otherwise commit themselves."""
    opened, begun = _driver(connection).transaction(), False
    try:
        with database.answering():
            await opened.start()
        begun = True
        try:
            yield
        except Exception:
            with database.answering():
                await opened.rollback()
            raise
        with database.answering():
            await opened.commit()
    except BaseException as error:
        # Whoever has the connection next must be in no transaction that began after all, nor be hit by the driver's request to
        # cancel what was cut off here, which comes late.
        if not begun or not isinstance(error, Exception):
            await connection.invalidate()
        raise


async def lock_first_bar(connection: AsyncConnection) -> None:
    """Until the transaction ends no other process decides the first bar of all, when there is no watermark to hold."""
    with database.answering():
        await _driver(connection).execute(_LOCK)


class BarStore:
    """The bars of one share of the products, on whatever connection is given."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._open, self._finish, self._finish_with = _opening(shard), _finishing(shard), _finishing_with(shard)

    async def join(self, connection: AsyncConnection) -> None:
        """Puts the share's watermark where the stage's is, unless it is further; alone it is the stage's."""
        if not self._shard.alone:
            with database.answering():
                await _driver(connection).execute(_JOIN, STAGE, self._shard.stage)

    async def read_bar(
        self, connection: AsyncConnection, run_id: str, granularity: int, products: Sequence[str], window: Window
    ) -> BarRead:
        """The candles a window asks for, and what is decided already."""
        late = (window.sequence, window.first, window.last)
        as_of = utc(unix(window.until) + granularity)
        given = (granularity, list(products), window.before, window.until, *late, as_of, run_id)
        row = await _row(connection, self._open, *given)
        assert row is not None
        candles = unpack(row)
        fresh = candles.start > unix(window.before)
        told = zip(candles.place.tolist(), row["exact"] or (), row["shown"] or (), strict=True)
        return BarRead(
            row["watermark"],
            frozenset(row["decided"] or ()),
            row["signals"],
            row["head"],
            candles.where(fresh),
            candles.where(~fresh),
            {products[place]: Close(exact, shown) for place, exact, shown in told if exact is not None},
        )

    async def finish_bar(
        self, connection: AsyncConnection, watermark: datetime | None, as_of: datetime, count: int
    ) -> int | None:
        """Takes the bar's sequences, moves the watermark from `watermark` past it and wakes watchers; gives the first
        sequence. None, and nothing done, if the watermark is not `watermark` any more.
        """
        row = await _row(connection, self._finish, watermark, as_of, count)
        return None if row is None else int(row["first"])

    async def finish_bar_with(
        self, connection: AsyncConnection, watermark: datetime | None, as_of: datetime, columns: Sequence[Any]
    ) -> int | None:
        """As `finish_bar`, with the signals themselves, given as `rows.signal_columns`; for few of them."""
        row = await _row(connection, self._finish_with, watermark, as_of, *columns)
        return None if row is None else int(row["first"])


async def check_is_owed(
    connection: AsyncConnection, run_id: str, granularity: int, as_of: datetime, model_version: str
) -> bool:
    """Whether a model spoke at a bar at which no check was stored, as the process ended in between."""
    row = await _row(connection, _OWED, as_of, run_id, granularity, model_version)
    return row is not None and bool(row[0])


async def copy_in(
    connection: AsyncConnection, table: str, columns: Sequence[str], content: AsyncIterable[bytes]
) -> None:
    """Rows into a table, as binary COPY, which may be given piece by piece."""
    with database.answering():
        await _driver(connection).copy_to_table(table, source=content, columns=columns, format="binary")


async def copy_records(
    connection: AsyncConnection, table: str, columns: Sequence[str], records: Iterable[tuple[Any, ...]]
) -> None:
    """Records into a table by COPY, each value encoded by the driver."""
    with database.answering():
        await _driver(connection).copy_records_to_table(table, records=records, columns=columns)


async def _row(connection: AsyncConnection, statement: str, *given: Any) -> Any:
    with database.answering():
        return await _driver(connection).fetchrow(statement, *given)


def _driver(connection: AsyncConnection) -> Any:
    """The driver's own connection. To be given it the way that may also connect costs a small bar some of its time."""
    opened = connection.sync_connection
    driver = opened.connection.driver_connection if opened is not None else None
    assert driver is not None
    return driver
