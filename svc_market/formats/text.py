"""Reads CSV lines as text, bounded: numbers keep their spelling, and nothing is guessed."""

import csv
from collections.abc import Iterator
from pathlib import Path

from svc_market.formats.base import UnusableFile


def lines(path: Path) -> Iterator[list[str]]:
    """Non-empty CSV records; UnusableFile where the file is no text or no CSV."""
    try:
        # Read to its end before the first line is given: a damaged file must store nothing.
        for _ in _records(path):
            pass
        yield from _records(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile("file_chunk", "DAMAGED", f"the CSV cannot be read: {error}"[:240]) from error


def _records(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from filter(None, csv.reader(file))


def first_lines(head: bytes, count: int) -> list[str]:
    """The first lines of a file, lower case; empty if it is no text."""
    text = head.decode("utf-8-sig", errors="ignore")
    return [line.strip().lower() for line in text.splitlines()[:count]]
