"""CSV of CryptoDataDownload: a banner line, then unix, date, symbol, open, high, low, close, two volumes; newest first.

Only the unix column is believed: the `Date` text is local time in parts of some files although the banner says UTC,
and rows occur twice at the seams. The first row is the hour that was running at the download, told by its volume of 0.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from svc_market.candles import NOT_CLOSED, Candle, Refusal
from svc_market.formats import text
from svc_market.formats.base import Hints, Row, UnusableFile, candle, from_unix, unreadable
from tradekit.products import is_product_id

_HEADER = re.compile(
    r"unix(?: timestamp)?,date,symbol,open,high,low,close,"
    r"volume ([a-z0-9]{1,12}),volume ([a-z0-9]{2,12})(?:,tradecount)?"
)
# Newer files of the vendor count milliseconds; no second of this century has so many digits.
_MILLISECONDS_FROM = 10_000_000_000


class CryptoDataDownload:
    name = "cryptodatadownload"
    ending = ".csv"
    looks = "banner line, header Unix Timestamp,Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD"

    def matches(self, head: bytes) -> bool:
        lines = text.first_lines(head, 2)
        return len(lines) == 2 and "cryptodatadownload" in lines[0] and _HEADER.fullmatch(lines[1]) is not None

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        records = text.lines(path)
        next(records)  # the banner
        product_id, granularity = _product(next(records), hints), hints.seconds()
        for number, record in enumerate(records):
            row = _row(product_id, granularity, record)
            running = number == 0 and isinstance(row, Candle) and row.volume.is_zero()
            yield Refusal(NOT_CLOSED, product_id, row.text()) if running and isinstance(row, Candle) else row


def _product(header: list[str], hints: Hints) -> str:
    """The header names the currencies of its two volumes: base, then quote."""
    found = _HEADER.fullmatch(",".join(header).strip().lower())
    product_id = f"{found[1]}-{found[2]}".upper() if found else ""
    if not is_product_id(product_id):
        raise UnusableFile("file_chunk", "LAYOUT", f"no product can be read from the header {','.join(header)}"[:240])
    if hints.product_id not in (None, product_id):
        raise UnusableFile("open.product_id", "MISMATCH", f"the file holds {product_id}; leave product_id empty")
    return product_id


def _row(product_id: str, granularity: int, record: list[str]) -> Row:
    try:
        unix = record[0]
        start = from_unix(unix, 1000 if float(unix) >= _MILLISECONDS_FROM else 1)
        return candle(product_id, granularity, start, record[3:8])
    except (ValueError, IndexError):
        return unreadable(product_id, ",".join(record))
