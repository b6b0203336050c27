"""JSON files of freqtrade and of exchanges' answers: a list of [time, open, high, low, close, volume, …].

JSON has no streaming reader here, so the size is bounded; the numbers keep their text.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from candle_files import names
from candle_files.numbers import time_of, values_of
from candle_files.rows import DAMAGED, Aside, AsideKind, Candle, Hints, Row, RowFault, UnusableFile, fault_of

_MOST_BYTES = 32 * 1024 * 1024
# freqtrade's six fields, or Binance's twelve.
_WIDTHS = (6, 12)


class JsonList:
    name = "json"
    endings: tuple[str, ...] = (".json",)
    looks = "a list of [milliseconds, open, high, low, close, volume]"

    def matches(self, head: bytes) -> bool:
        return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        product_id, granularity = names.product_of(hints), names.granularity_of(hints)
        wanted = hints.wants(product_id)
        for record in _records(path):
            yield _row(product_id, granularity, record) if wanted else Aside(AsideKind.LEFT_OUT)


def _records(path: Path) -> list[object]:
    if path.stat().st_size > _MOST_BYTES:
        raise UnusableFile("file_chunk", "TOO_LARGE", "JSON files may have 32 MiB; convert larger ones to Parquet")
    try:
        # Numbers keep their text, so that they are read exactly.
        records = json.loads(path.read_bytes(), parse_float=str, parse_int=str)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise UnusableFile("file_chunk", "DAMAGED", f"the JSON cannot be read: {error}"[:240]) from error
    if not isinstance(records, list):
        raise UnusableFile("file_chunk", "LAYOUT", "the JSON must be a list of candles")
    return records


def _row(product_id: str, granularity: int, record: object) -> Row:
    try:
        if not isinstance(record, list) or len(record) not in _WIDTHS:
            raise RowFault(DAMAGED, "the row is no list of time, open, high, low, close and volume")
        return Candle(product_id, granularity, time_of(record[0], granularity), *values_of(tuple(record[1:6])))
    except RowFault as fault:
        return fault_of(fault, product_id, record)
