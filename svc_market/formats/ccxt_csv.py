"""CSV as ccxt users write it: datetime,open,high,low,close,volume; pair and time frame are in the file's name.

The time is ISO 8601 with an offset, or UNIX milliseconds under the name `timestamp`. A time without an offset is
refused: it could be any zone's.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from svc_market.formats import text
from svc_market.formats.base import Hints, Row, candle, from_unix, unreadable

_VALUES = "open,high,low,close,volume"
_HEADERS = {f"datetime,{_VALUES}": False, f"date,{_VALUES}": False, f"timestamp,{_VALUES}": True}


class CcxtCsv:
    name = "ccxt-csv"
    ending = ".csv"
    looks = f"header datetime,{_VALUES} or timestamp,{_VALUES}"

    def matches(self, head: bytes) -> bool:
        return text.first_lines(head, 1)[:1] != [] and text.first_lines(head, 1)[0] in _HEADERS

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        product_id, granularity = hints.product(), hints.seconds()
        records = text.lines(path)
        in_milliseconds = _HEADERS[",".join(name.strip().lower() for name in next(records))]
        for record in records:
            yield _row(product_id, granularity, record, in_milliseconds)


def _row(product_id: str, granularity: int, record: list[str], in_milliseconds: bool) -> Row:
    try:
        start = from_unix(record[0], 1000) if in_milliseconds else _iso(record[0])
        return candle(product_id, granularity, start, record[1:])
    except ValueError:
        return unreadable(product_id, ",".join(record))


def _iso(value: str) -> datetime:
    moment = datetime.fromisoformat(value.strip())
    if moment.tzinfo is None:
        raise ValueError("the time has no offset")
    return moment.astimezone(UTC)
