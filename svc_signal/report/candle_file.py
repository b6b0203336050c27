"""Candles of a Parquet file as columns, with the identity of the file, for a training that needs no running mesh."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from svc_signal.candles import CandleArrays
from tradekit.bars import GRANULARITY_SECONDS
from tradekit.products import quote_currency

_COLUMNS = ("open", "high", "low", "close", "volume")


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
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path, columns=["product_id", "granularity", "start", *_COLUMNS])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise FileUnusable(f"{path} is no Parquet file of candles: {error}") from error
    lengths = table["granularity"].unique().to_pylist()
    if len(lengths) != 1 or lengths[0] not in GRANULARITY_SECONDS:
        raise FileUnusable(f"{path} must hold candles of one length; it has {lengths}")
    names = table["product_id"].to_numpy(zero_copy_only=False)
    there = sorted(set(names))
    wanted = tuple(products) or tuple(there)
    factor = f"BTC-{quote_currency(wanted[0])}"
    missing = [name for name in (*wanted, factor) if name not in there]
    if missing:
        raise FileUnusable(f"{path} holds no {', '.join(dict.fromkeys(missing))}; it has {', '.join(there)}")
    start = table["start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    columns = [table[name].to_numpy() for name in _COLUMNS]
    candles = {}
    for name in dict.fromkeys((*wanted, factor)):
        rows = names == name
        candles[name] = CandleArrays(start[rows], *(column[rows] for column in columns))
    return CandleFile(candles, GRANULARITY_SECONDS[lengths[0]], factor, sha256)
