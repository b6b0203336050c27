"""Understands which column of a CSV is what, from its header or, where it has none, from the look of its first line.

Sources of the layouts: CryptoDataDownload (banner line, two volume columns that name the currencies), Binance Vision
klines (12 columns, header only in newer files), Kraken OHLCVT (7 columns, no header), yfinance (with and without its
three header lines), TradingView, Bitstamp sets, ccxt and pandas.
"""

import re
from dataclasses import dataclass

from candle_files.lines import cells
from candle_files.names import spelled_product
from candle_files.numbers import number, time_of
from candle_files.rows import RowFault, UnusableFile

VALUES = ("open", "high", "low", "close", "volume")
# Where several are there the first counts: CryptoDataDownload's `date` is local time in parts of some files. The empty
# name is the index of a table.
_TIMES = ("unix timestamp", "unix", "open time", "start", "timestamp", "time", "datetime", "date", "")
_PRODUCTS = ("product id", "symbol", "ticker", "pair", "market")
_LENGTHS = ("granularity", "interval", "timeframe")
_VOLUME_OF = re.compile(r"volume \(?([a-z0-9]{1,12})\)?")
_HEADERLESS = {12: "binance", 7: "kraken", 6: "csv"}
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of the columns in a line of `width` fields. `product_id` is what the header says of the whole file."""

    name: str
    delimiter: str
    header_lines: int
    width: int
    time: int
    values: tuple[int, int, int, int, int]
    product: int | None = None
    length: int | None = None
    product_id: str | None = None


def understand(first: list[str]) -> Layout | None:
    """The layout of a file with these first lines, or None if it is no table of candles. UnusableFile where it is one
    that lacks something."""
    if not first:
        return None
    for delimiter in (",", ";", "\t"):
        rows = [_cells(line, delimiter) for line in first]
        found = _vendor(rows, delimiter) or _with_header(rows[0], delimiter) or _without_header(rows[0], delimiter)
        if found is not None:
            return found
    return None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return cells(line, delimiter)
    except RowFault:
        return []


def _vendor(rows: list[list[str]], delimiter: str) -> Layout | None:
    """Files whose first line is not the header of their columns."""
    if len(rows) > 1 and "cryptodatadownload" in "".join(rows[0]).lower():
        return _with_header(rows[1], delimiter, "cryptodatadownload", 2)
    if len(rows) > 2 and [row[:1] for row in rows[:2]] == [["Price"], ["Ticker"]]:
        found = _with_header(["Date", *rows[0][1:]], delimiter, "yfinance", 3, ticker_row=rows[1][1:])
        return found if rows[2][:1] in (["Date"], ["Datetime"]) else None
    return None


def _with_header(
    row: list[str], delimiter: str, name: str = "csv", lines: int = 1, ticker_row: list[str] | None = None
) -> Layout | None:
    """None if fewer than three of the value columns are named; UnusableFile if one is missing or there twice."""
    columns = [re.sub(r"[\s_]+", " ", cell.strip().lower()) for cell in row]
    # The header may have come with a name for what stands in brackets: volume (btc).
    currencies = [found[1].upper() for column in columns if (found := _VOLUME_OF.fullmatch(column))]
    if len([column for column in VALUES[:4] if column in columns]) < 3:
        return None
    if "volume" not in columns and currencies:
        columns[next(at for at, column in enumerate(columns) if _VOLUME_OF.fullmatch(column))] = "volume"
    time = next((column for column in _TIMES if column in columns), None)
    missing = [column for column in VALUES if column not in columns]
    if missing or time is None:
        lacking = ", ".join([*(["a time"] if time is None else []), *missing])
        raise UnusableFile("file_chunk", "COLUMNS", f"the header {_shown(row)} lacks {lacking}"[:240])
    product = next((column for column in _PRODUCTS if column in columns), None)
    length = next((column for column in _LENGTHS if column in columns), None)
    product_id = _one_ticker(ticker_row) if ticker_row else None
    if len(currencies) == 2 and "CURRENCY" not in currencies:
        product_id = f"{currencies[0]}-{currencies[1]}"
    for column in filter(None, (time, product, length, *VALUES)):
        if columns.count(column) > 1:
            description = f"the header {_shown(row)} has the column {column} {columns.count(column)} times; leave one"
            raise UnusableFile("file_chunk", "COLUMN_REPEATED", description[:240])
    first, high, low, close, volume = (columns.index(column) for column in VALUES)
    return Layout(
        name,
        delimiter,
        lines,
        len(columns),
        columns.index(time),
        (first, high, low, close, volume),
        columns.index(product) if product and product_id is None else None,
        columns.index(length) if length else None,
        product_id,
    )


def _one_ticker(row: list[str]) -> str:
    tickers = sorted(set(filter(None, row)))
    if len(tickers) != 1 or spelled_product(tickers[0]) is None:
        description = f"the file holds {', '.join(tickers)[:80]} side by side; write one file for each product"
        raise UnusableFile("file_chunk", "LAYOUT", description)
    return spelled_product(tickers[0]) or ""


def _without_header(row: list[str], delimiter: str) -> Layout | None:
    """A line of numbers only: time, open, high, low, close, volume, and what its kind adds."""
    name = _HEADERLESS.get(len(row))
    if name is None:
        return None
    try:
        time_of(row[0], _HOUR)
        for cell in row[1:6]:
            number(cell)
    except RowFault:
        return None
    return Layout(name, delimiter, 0, len(row), 0, (1, 2, 3, 4, 5))


def _shown(row: list[str]) -> str:
    text = ",".join(row)
    return repr("".join(filter(str.isprintable, text))[:80])
