"""The candle file formats that can be imported, and how a file is recognised: by its first bytes and its ending, both.

A new format is a file here with one class, and a line in FORMATS.
"""

from pathlib import Path

from svc_market.formats.base import Format, UnusableFile
from svc_market.formats.ccxt_csv import CcxtCsv
from svc_market.formats.cryptodatadownload import CryptoDataDownload
from svc_market.formats.freqtrade_feather import FreqtradeFeather
from svc_market.formats.freqtrade_json import FreqtradeJson
from svc_market.formats.parquet import Parquet

FORMATS: tuple[Format, ...] = (Parquet(), CryptoDataDownload(), CcxtCsv(), FreqtradeFeather(), FreqtradeJson())
_HEAD_BYTES = 4096


def detect(path: Path, file_name: str) -> Format:
    """The format of a file that was sent under `file_name`; UnusableFile names the supported ones."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise UnusableFile("file_chunk", "EMPTY", "the file is empty")
    ending = Path(file_name).suffix.lower()
    for candidate in FORMATS:
        if candidate.ending == ending and candidate.matches(head):
            return candidate
    supported = [f"supported: {known.name}, {known.ending} with {known.looks}" for known in FORMATS]
    raise UnusableFile("file_name", "FORMAT", f"{Path(file_name).name[:40]} is no known candle file", supported)
