"""Feather files of freqtrade: date (UTC), open, high, low, close, volume; pair and time frame are in the name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from svc_market.formats import arrow
from svc_market.formats.base import Hints, Row, UnusableFile, candle, unreadable

_COLUMNS = ("date", *arrow.VALUES)


class FreqtradeFeather:
    name = "freqtrade-feather"
    ending = ".feather"
    looks = f"columns {', '.join(_COLUMNS)}"

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"ARROW1")

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        product_id, granularity = hints.product(), hints.seconds()
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
                arrow.require(file.schema, _COLUMNS, "date")
                # Read to its end before the first row is given: a damaged file must store nothing.
                for index in range(file.num_record_batches):
                    file.get_batch(index)
                for index in range(file.num_record_batches):
                    for record in arrow.records(file.get_batch(index), _COLUMNS):
                        yield _row(product_id, granularity, record)
        except (pa.ArrowException, OSError) as error:
            raise UnusableFile("file_chunk", "DAMAGED", f"the Feather file cannot be read: {error}"[:240]) from error


def _row(product_id: str, granularity: int, record: tuple[Any, ...]) -> Row:
    try:
        return candle(product_id, granularity, arrow.moment(record[0]), record[1:])
    except ValueError:
        return unreadable(product_id, record)
