"""JSON files of freqtrade: a list of [milliseconds, open, high, low, close, volume]; the rest is in the file's name.

JSON has no streaming reader here, so the size is bounded; the numbers keep their text.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from svc_market.formats.base import Hints, Row, UnusableFile, candle, from_unix, unreadable

_MOST_BYTES = 32 * 1024 * 1024


class FreqtradeJson:
    name = "freqtrade-json"
    ending = ".json"
    looks = "a list of [milliseconds, open, high, low, close, volume]"

    def matches(self, head: bytes) -> bool:
        return head.lstrip().startswith(b"[")

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        product_id, granularity = hints.product(), hints.seconds()
        for record in _records(path):
            yield _row(product_id, granularity, record)


def _records(path: Path) -> list[object]:
    if path.stat().st_size > _MOST_BYTES:
        raise UnusableFile("file_chunk", "TOO_LARGE", "JSON files may have 32 MiB; convert larger ones to Parquet")
    try:
        records = json.loads(path.read_bytes(), parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise UnusableFile("file_chunk", "DAMAGED", f"the JSON cannot be read: {error}"[:240]) from error
    if not isinstance(records, list):
        raise UnusableFile("file_chunk", "LAYOUT", "the JSON must be a list of candles")
    return records


def _row(product_id: str, granularity: int, record: object) -> Row:
    if not isinstance(record, list) or len(record) != 6:
        return unreadable(product_id, record)
    try:
        return candle(product_id, granularity, from_unix(record[0], 1000), record[1:])
    except ValueError:
        return unreadable(product_id, record)
