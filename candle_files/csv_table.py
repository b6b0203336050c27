"""CSV files of candles, of any layout that csv_layout.py understands: one line is one row.

A line of the wrong width, or one whose quotation marks do not pair, is damaged and counted; the next line is read by
itself. The first row of CryptoDataDownload's files is the hour that was running at the download, told by its volume of 0.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from candle_files import names
from candle_files.checks import NOT_CLOSED, PRODUCT_ID
from candle_files.csv_layout import Layout, understand
from candle_files.lines import cells, first_lines, lines, text_of
from candle_files.numbers import time_of, values_of
from candle_files.rows import (
    DAMAGED,
    GRANULARITY_UNSUPPORTED,
    Aside,
    AsideKind,
    Candle,
    Hints,
    Refusal,
    Row,
    RowFault,
    UnusableFile,
    fault_of,
)
from tradekit.bars import GRANULARITY_NAMES
from tradekit.products import is_product_id

_LOOKED_AT = 3


class CsvTable:
    name = "csv"
    endings: tuple[str, ...] = (".csv", ".txt")
    looks = (
        "a header that names a time, open, high, low, close and volume, or lines of time,open,high,low,close,volume"
        " as Kraken and Binance write them"
    )

    def matches(self, head: bytes) -> bool:
        return not head.startswith((b"PAR1", b"ARROW1"))

    def layout(self, path: Path) -> Layout:
        """UnusableFile if the first lines are no candles."""
        first = first_lines(path, _LOOKED_AT)
        found = understand(first)
        if found is None and first and "\N{REPLACEMENT CHARACTER}" in first[0]:
            raise UnusableFile(
                "file_chunk", "ENCODING", "the file is no UTF-8 text; it is damaged or has another format"
            )
        if found is None:
            shown = "".join(filter(str.isprintable, first[0] if first else ""))[:60]
            raise UnusableFile("file_chunk", "LAYOUT", f"the file begins with {shown!r}; it needs {self.looks}")
        return found

    def rows(self, path: Path, hints: Hints) -> Iterator[Row]:
        layout = self.layout(path)
        return _Reader(layout, hints, first_lines(path, layout.header_lines)).rows(path)


class _Reader:
    """One file's layout and what its rows need beside it."""

    def __init__(self, layout: Layout, hints: Hints, header: list[str]) -> None:
        self._layout = layout
        self._hints = hints
        self._header = frozenset(header)
        self._products: dict[str, str | None] = {}
        told = hints.product_id
        if layout.product_id is not None and told not in (None, layout.product_id):
            description = f"the file holds {layout.product_id}; leave product_id empty"
            raise UnusableFile("open.product_id", "MISMATCH", description)
        self._product_id = layout.product_id or told or ""
        if layout.product is None and layout.product_id is None:
            self._product_id = names.product_of(hints)
        if self._product_id and not is_product_id(self._product_id):
            raise UnusableFile("file_chunk", "LAYOUT", f"{self._product_id[:40]} of the header is no product")
        self._granularity = names.granularity_of(hints) if layout.length is None else 0

    def rows(self, path: Path) -> Iterator[Row]:
        found = lines(path)
        for _ in islice(found, self._layout.header_lines):
            yield Aside(AsideKind.HEADER)
        first = self._layout.name == "cryptodatadownload"
        for line in found:
            row = self._row(line)
            if first and isinstance(row, Candle) and row.volume.is_zero():
                yield Refusal(NOT_CLOSED, row.product_id, row.text())
            else:
                yield row
            first = False

    def _row(self, line: bytes) -> Row:
        product_id, text = self._product_id, line[:200].decode(errors="replace")
        try:
            text = text_of(line)
            if not text.strip(" \t,;"):
                return Aside(AsideKind.BLANK)
            if text in self._header:
                return Aside(AsideKind.HEADER)
            record = cells(text, self._layout.delimiter)
            if len(record) != self._layout.width:
                raise RowFault(DAMAGED, f"the line has {len(record)} fields, not {self._layout.width}")
            product_id = self._product(record)
            if not self._hints.wants(product_id):
                return Aside(AsideKind.LEFT_OUT)
            return self._candle(product_id, record)
        except RowFault as fault:
            return fault_of(fault, product_id, text)

    def _candle(self, product_id: str, record: list[str]) -> Candle:
        layout = self._layout
        granularity = self._granularity or _granularity(record[layout.length or 0])
        values = values_of([record[at] for at in layout.values])
        return Candle(product_id, granularity, time_of(record[layout.time], granularity), *values)

    def _product(self, record: list[str]) -> str:
        """The product that the row names; one that is spelled in no known way is that of the import, if it says one."""
        if self._layout.product is None:
            return self._product_id
        text = record[self._layout.product]
        if text not in self._products:
            self._products[text] = names.spelled_product(text)
        found, told = self._products[text], self._product_id
        if found is not None and told and found != told:
            raise RowFault(PRODUCT_ID, f"the row is of {found}, the import of {told}")
        if found is None and not told:
            raise RowFault(PRODUCT_ID, f"{text[:40]!r} is no product such as BTC-USD; say which one is meant")
        return found or told


def _granularity(text: str) -> int:
    seconds = names.parse_length(text)
    if seconds not in GRANULARITY_NAMES:
        raise RowFault(GRANULARITY_UNSUPPORTED, f"candles of {text[:40]!r} cannot be used")
    return seconds
