"""Rows in PostgreSQL's binary COPY format, made from columns.

A bar of a thousand products is 51,000 feature values; the driver's copy_records_to_table encodes them one by one, which
costs more than everything else the bar does (bench/README.md). Here numpy lays them out, and each row is joined from parts
that are mostly the same for all rows.
Format: PostgreSQL documentation, COPY, "Binary Format", and the send functions of the types.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import numpy as np

from modelkit.candles import FloatArray
from tradekit.bars import unix

BLOCK = 100
"""Rows of a piece: enough to be worth a system call, few enough for the database to begin early."""
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
# PostgreSQL counts microseconds from 2000-01-01.
_EPOCH_SECONDS = 946_684_800
_FLOAT8_OID = 701
_NO_DIMENSIONS = struct.pack(">iiii", 12, 0, 0, _FLOAT8_OID)


def raw(content: bytes) -> bytes:
    """A field whose type's binary form is `content`: uuid, bytea, or what a send function gave."""
    return struct.pack(">i", len(content)) + content


def text(value: str) -> bytes:
    return raw(value.encode())


def json(value: str) -> bytes:
    """jsonb: one byte of version, then the text."""
    return raw(b"\x01" + value.encode())


def int4(value: int) -> bytes:
    return struct.pack(">ii", 4, value)


def int8(value: int) -> bytes:
    return struct.pack(">iq", 8, value)


def time(moment: datetime) -> bytes:
    """A whole second, as every time of a bar is."""
    return int8((unix(moment) - _EPOCH_SECONDS) * 1_000_000)


def int8s(column: Sequence[int]) -> list[bytes]:
    """Per row the field of a bigint column."""
    table = np.empty(len(column), dtype=[("length", ">i4"), ("value", ">i8")])
    table["length"], table["value"] = 8, column
    return _lines(table.tobytes(), len(table))


def doubles(rows: FloatArray) -> list[bytes]:
    """Per row the fields of several double columns side by side."""
    table = np.empty(rows.shape, dtype=[("length", ">i4"), ("value", ">f8")])
    table["length"], table["value"] = 8, rows
    return _lines(table.tobytes(), len(table))


def double_arrays(rows: FloatArray, present: Sequence[bool]) -> list[bytes]:
    """Per row a field of type double precision[]; an empty array where not `present`."""
    count, width = rows.shape
    element = [("length", ">i4"), ("value", ">f8")]
    head = [("size", ">i4"), ("dimensions", ">i4"), ("nulls", ">i4"), ("type", ">i4"), ("width", ">i4"), ("low", ">i4")]
    table = np.empty(count, dtype=[*head, ("elements", element, (width,))])
    table["size"], table["dimensions"], table["nulls"] = 20 + 12 * width, 1, 0
    table["type"], table["width"], table["low"] = _FLOAT8_OID, width, 1
    table["elements"]["length"], table["elements"]["value"] = 8, rows
    lines = _lines(table.tobytes(), count)
    return [line if here else _NO_DIMENSIONS for line, here in zip(lines, present, strict=True)]


def content(fields: int, rows: Iterable[Sequence[bytes]]) -> Iterator[bytes]:
    """The whole input of a COPY, in pieces of BLOCK rows; a row is given as parts that hold `fields` fields together."""
    begin = struct.pack(">h", fields)
    parts = [_SIGNATURE]
    for number, row in enumerate(rows, 1):
        parts.append(begin)
        parts.extend(row)
        if number % BLOCK == 0:
            yield b"".join(parts)
            parts.clear()
    parts.append(_TRAILER)
    yield b"".join(parts)


def _lines(table: bytes, rows: int) -> list[bytes]:
    width = len(table) // rows if rows else 0
    return [table[at : at + width] for at in range(0, len(table), width)] if width else []
