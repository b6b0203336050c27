"""Reads a text file line by line, bounded: one line is one row, whatever it holds.

A quotation mark cannot swallow the lines after it, as no candle has a line break inside; a line that is too long or no
UTF-8 is damaged, and the next one is looked at by itself.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from candle_files.rows import DAMAGED, RowFault, UnusableFile

LONGEST_LINE = 4096
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"


def lines(path: Path) -> Iterator[bytes]:
    """Lines without their ends. A longer one is cut to LONGEST_LINE + 1 bytes, by which it is known."""
    with path.open("rb") as file:
        first = True
        while line := file.readline(LONGEST_LINE + 2):
            if not line.endswith(b"\n") and len(line) > LONGEST_LINE:
                while (rest := file.readline(1 << 16)) and not rest.endswith(b"\n"):
                    pass
            line = line.rstrip(b"\r\n")[: LONGEST_LINE + 1]
            if first and line.startswith(_UTF16):
                raise UnusableFile("file_chunk", "ENCODING", "the file is UTF-16 text; save it as UTF-8")
            yield line.removeprefix(_BOM) if first else line
            first = False


def text_of(line: bytes) -> str:
    """The line as text. RowFault where it is none."""
    if len(line) > LONGEST_LINE:
        raise RowFault(DAMAGED, f"a line of more than {LONGEST_LINE} bytes")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise RowFault(DAMAGED, "the line is no UTF-8 text") from None
    if "\0" in text:
        raise RowFault(DAMAGED, "the line has zero bytes")
    return text


def cells(text: str, delimiter: str) -> list[str]:
    """The fields of a line. RowFault for quotation marks that do not pair."""
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    try:
        record = next(csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration):
        raise RowFault(DAMAGED, "the line has a stray quotation mark") from None
    return [cell.strip() for cell in record]


def first_lines(path: Path, count: int) -> list[str]:
    """The first lines, for recognising a layout; what is no text shows as such."""
    return [line.decode(errors="replace") for line in islice(lines(path), count)]
