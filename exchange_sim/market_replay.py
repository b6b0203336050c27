"""The replayed market: the candles of one Parquet file, unchanged.

A value goes in as the shortest text of its float and comes out as that text, so that what a
client reads is what the file says, digit for digit.
"""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exchange_sim.market import GRANULARITIES, Candle
from exchange_sim.market_bars import fold
from exchange_sim.products import Product, derived, listed
from exchange_sim.times import SECOND_US

_VALUES = ("open", "high", "low", "close", "volume")
_SCHEMA = pa.schema(
    [
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("granularity", pa.string(), nullable=False),
        pa.field("start", pa.timestamp("us", tz="UTC"), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in _VALUES),
    ]
)


class UnusableFile(Exception):
    """The candle file cannot be replayed; the operator must choose another."""


class _Series:
    """One product's rows: starts ascending and the five value columns beside them."""

    def __init__(self, starts: list[int], columns: list[list[float]]) -> None:
        self.starts = starts
        self._columns = columns

    def candle(self, i: int) -> Candle:
        values = [Decimal(repr(column[i])) for column in self._columns]
        return Candle(self.starts[i], values[0], values[1], values[2], values[3], values[4])

    def closes(self) -> set[float]:
        return set(self._columns[3])


class ReplayBars:
    label = "REPLAY"

    def __init__(self, path: Path, product_ids: Sequence[str]) -> None:
        table = _read(path, product_ids)
        self.step = _single_step(path, table)
        names = product_ids or sorted(table.column("product_id").unique().to_pylist())
        self._series = {name: _series(path, table, name, self.step) for name in names}
        self._products = tuple(_rules(name, series) for name, series in self._series.items())
        self.first = min(series.starts[0] for series in self._series.values())
        self.last: int | None = max(series.starts[-1] for series in self._series.values())

    def products(self) -> tuple[Product, ...]:
        return self._products

    def bar(self, product_id: str, start: int) -> Candle | None:
        series = self._series[product_id]
        i = bisect_left(series.starts, start)
        return series.candle(i) if i < len(series.starts) and series.starts[i] == start else None

    def last_before(self, product_id: str, start: int) -> Candle | None:
        series = self._series[product_id]
        i = bisect_left(series.starts, start)
        return series.candle(i - 1) if i else None

    def bars(self, product_id: str, start: int, end: int) -> list[Candle]:
        series = self._series[product_id]
        begin, stop = bisect_left(series.starts, start), bisect_left(series.starts, end)
        return [series.candle(i) for i in range(begin, stop)]

    def aggregate(self, product_id: str, granularity: int, start: int, end: int) -> list[Candle]:
        bars = self.bars(product_id, start, end)
        if granularity == self.step:
            return bars
        buckets: dict[int, list[Candle]] = {}
        for bar in bars:
            buckets.setdefault(bar.start // granularity * granularity, []).append(bar)
        return [fold(bucket, parts) for bucket, parts in buckets.items()]


def _read(path: Path, product_ids: Sequence[str]) -> Any:
    filters = [("product_id", "in", list(product_ids))] if product_ids else None
    try:
        table = pq.read_table(path, columns=_SCHEMA.names, filters=filters).select(_SCHEMA.names).cast(_SCHEMA)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise UnusableFile(f"{path}: {error}") from error
    if table.num_rows == 0:
        raise UnusableFile(f"{path}: no candles of {', '.join(product_ids) or 'any product'}")
    for name in _VALUES:
        if not pc.all(pc.is_finite(table.column(name))).as_py():
            raise UnusableFile(f"{path}: {name} has values that are no numbers")
    return table


def _single_step(path: Path, table: Any) -> int:
    names = table.column("granularity").unique().to_pylist()
    if len(names) != 1 or names[0] not in GRANULARITIES:
        raise UnusableFile(f"{path}: needs one known granularity, has {names}")
    return GRANULARITIES[names[0]]


def _series(path: Path, table: Any, product_id: str, step: int) -> _Series:
    rows = table.filter(pc.equal(table.column("product_id"), product_id))
    if rows.num_rows == 0:
        raise UnusableFile(f"{path}: no candles of {product_id}")
    starts_us = rows.column("start").cast(pa.int64()).to_pylist()
    starts = [us // SECOND_US for us in starts_us]
    if any(us % (step * SECOND_US) for us in starts_us) or any(b <= a for a, b in pairwise(starts)):
        raise UnusableFile(f"{path}: {product_id} is not strictly ascending on its grid")
    return _Series(starts, [rows.column(name).to_pylist() for name in _VALUES])


def _rules(product_id: str, series: _Series) -> Product:
    """The catalogue's, unless prices lie below its step: they are quoted in something else than dollars then."""
    known = listed(product_id)
    if known is not None and median(series.closes()) >= known.price_increment:
        return known
    return derived(product_id, (Decimal(repr(close)) for close in series.closes()))
