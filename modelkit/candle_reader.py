"""The one reader of stored candles as columns of numbers: of one bar and of long histories, live and for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from modelkit.candles import BoolArray, CandleArrays, FloatArray, IntArray
from tradekit.bars import unix

# A statement of this many candles takes a fraction of the longest time a statement may take.
_MOST_CANDLES = 50_000

# Whole numbers and doubles, 8 bytes each, side by side.
PACKED = """
  string_agg(int8send(place) || int8send(start) || float8send(open) || float8send(high) || float8send(low)
    || float8send(close) || float8send(volume), '') AS packed
"""
_FIELDS = 7
# Prices leave exact numbers here, as statistics do not need them.
COLUMNS = """
  wanted.place, extract(epoch FROM c.start)::bigint AS start, c.open::float8 AS open, c.high::float8 AS high,
  c.low::float8 AS low, c.close::float8 AS close, c.volume::float8 AS volume
"""
_OF_PRODUCTS = """
  FROM unnest(CAST(:products AS text[])) WITH ORDINALITY AS wanted(product_id, place)
  JOIN model_candles AS c USING (product_id)
  WHERE c.granularity = :granularity
"""

_BETWEEN = text(f"""
  WITH candles AS (SELECT {COLUMNS} {_OF_PRODUCTS} AND c.start >= :first AND c.start <= :until)
  SELECT {PACKED} FROM candles
""")


@dataclass(frozen=True, slots=True)
class PackedCandles:
    """Candles of several products as columns; `place` counts products from 0."""

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
        order = np.lexsort((self.start, self.place))
        place, start, values = self.place[order], self.start[order], self.values[:, order]
        edges = np.flatnonzero(np.diff(place, prepend=-1, append=-1)).tolist()
        return {
            products[place[low]]: CandleArrays(start[low:high], *values[:, low:high]) for low, high in pairwise(edges)
        }


async def _candles(
    connection: AsyncConnection, granularity: int, products: Sequence[str], first: datetime, until: datetime
) -> PackedCandles:
    """Every candle of the products that opens in [first, until]."""
    given = {"granularity": granularity, "products": list(products), "first": first, "until": until}
    return unpack((await connection.execute(_BETWEEN, given)).mappings().one())


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


def unpack(row: Any) -> PackedCandles:
    """The candles of a row that `PACKED` made."""
    table = np.frombuffer(row["packed"] or b"", ">i8").reshape(-1, _FIELDS).T
    values = table[2:].view(">f8").astype(np.float64)
    return PackedCandles(table[0].astype(np.int64) - 1, table[1].astype(np.int64), values)
