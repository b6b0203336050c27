"""Candles of a file as columns, with the identity of the file, for a training that needs no running mesh."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from candle_files.rows import UnusableFile
from candle_files.series import Series, load
from modelkit.candles import CandleArrays
from tradekit.products import market_factor


class FileUnusable(Exception):
    """The file cannot be trained on; the text says why."""


@dataclass(frozen=True, slots=True)
class CandleFile:
    """`factor_product` is BTC in the quote currency of the products."""

    candles: dict[str, CandleArrays]
    granularity: int
    factor_product: str
    sha256: str


def read_candle_file(path: Path, products: Sequence[str]) -> CandleFile:
    """These products (all, if none is named) and the market factor. Raises FileUnusable."""
    factor = market_factor(products[0]) if products else ""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found = load(path, {*products, factor} if products else ())
    except UnusableFile as error:
        raise FileUnusable(f"{path} cannot be read: {'; '.join(error.descriptions)}") from error
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    there = sorted(found.series)
    wanted = tuple(products) or tuple(there)
    factor = market_factor(wanted[0])
    missing = [name for name in (*wanted, factor) if name not in there]
    if missing:
        raise FileUnusable(f"{path} holds no {', '.join(dict.fromkeys(missing))}; of these it has {', '.join(there)}")
    if lost := found.account.lost():
        raise FileUnusable("; ".join((f"{path}: {lost}", *found.account.reasons())))
    candles = {name: _arrays(found.series[name]) for name in dict.fromkeys((*wanted, factor))}
    return CandleFile(candles, found.granularity, factor, sha256)


def _arrays(series: Series) -> CandleArrays:
    start = np.array(series.starts, dtype=np.int64)
    return CandleArrays(start, *(np.array(column.floats) for column in series.columns))
