"""Parquet with the columns product_id, granularity, start, open, high, low, close, volume.

Product and granularity stand in every row, so one file may hold many; `start` is the open of the bar, with a time zone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from svc_market.formats import arrow
from svc_market.formats.base import Hints, Row, UnusableFile, candle, unreadable
from tradekit.bars import GRANULARITY_SECONDS

_COLUMNS = ("product_id", "granularity", "start", *arrow.VALUES)


class Parquet:
    name = "parquet"
    ending = ".parquet"
    looks = f"columns {', '.join(_COLUMNS)}"

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"PAR1")

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        try:
            with pq.ParquetFile(path) as file:
                arrow.require(file.schema_arrow, _COLUMNS, "start")
                # Read to its end before the first row is given: a damaged file must store nothing.
                for _ in _batches(file):
                    pass
                for batch in _batches(file):
                    for record in arrow.records(batch, _COLUMNS):
                        yield _row(record)
        except (pa.ArrowException, OSError) as error:
            raise UnusableFile("file_chunk", "DAMAGED", f"the Parquet file cannot be read: {error}"[:240]) from error


def _batches(file: pq.ParquetFile) -> Iterator[Any]:
    return file.iter_batches(batch_size=16_384, columns=list(_COLUMNS))  # type: ignore[no-any-return]


def _row(record: tuple[Any, ...]) -> Row:
    product_id, granularity, start, *values = record
    try:
        return candle(str(product_id), GRANULARITY_SECONDS[granularity], arrow.moment(start), values)
    except (ValueError, KeyError):
        return unreadable(str(product_id), record)
