"""The replayed market: the good candles of one file, unchanged.

The file is read by the reader that imports use, so that every format and rule is the same; a value comes out digit for
digit as it stands in the file.
"""

import logging
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median

from candle_files.rows import UnusableFile
from candle_files.series import Series, load
from exchange_sim.market import Candle
from exchange_sim.market_bars import fold
from exchange_sim.products import Product, derived, listed

log = logging.getLogger(__name__)


class ReplayBars:
    """Raises UnusableFile for a file that holds no candles of a product, or of several lengths."""

    label = "REPLAY"
    has_insides = False

    def __init__(self, path: Path, product_ids: Sequence[str]) -> None:
        try:
            found = load(path, product_ids)
        except OSError as error:
            raise UnusableFile("file_name", "READABLE", f"{path} cannot be read: {error.strerror}") from error
        self.step = found.granularity
        for product_id in product_ids:
            if product_id not in found.series:
                raise UnusableFile("file_chunk", "PRODUCT", f"{path}: no candles of {product_id}")
        for code, count in found.account.refusals.items():
            log.warning("%s: %d rows left out as %s, first: %s", path, count, code, found.account.examples[code])
        self._series = {name: found.series[name] for name in product_ids or sorted(found.series)}
        self._products = tuple(_rules(name, series) for name, series in self._series.items())
        self.first = min(series.starts[0] for series in self._series.values())
        self.last: int | None = max(series.starts[-1] for series in self._series.values())

    def products(self) -> tuple[Product, ...]:
        return self._products

    def bar(self, product_id: str, start: int) -> Candle | None:
        series = self._series[product_id]
        i = bisect_left(series.starts, start)
        return _candle(series, i) if i < len(series.starts) and series.starts[i] == start else None

    def last_before(self, product_id: str, start: int) -> Candle | None:
        series = self._series[product_id]
        i = bisect_left(series.starts, start)
        return _candle(series, i - 1) if i else None

    def bars(self, product_id: str, start: int, end: int) -> list[Candle]:
        series = self._series[product_id]
        begin, stop = bisect_left(series.starts, start), bisect_left(series.starts, end)
        return [_candle(series, i) for i in range(begin, stop)]

    def aggregate(self, product_id: str, granularity: int, start: int, end: int) -> list[Candle]:
        bars = self.bars(product_id, start, end)
        if granularity == self.step:
            return bars
        buckets: dict[int, list[Candle]] = {}
        for bar in bars:
            buckets.setdefault(bar.start // granularity * granularity, []).append(bar)
        return [fold(bucket, parts) for bucket, parts in buckets.items()]


def _candle(series: Series, i: int) -> Candle:
    opened, high, low, close, volume = (column[i] for column in series.columns)
    return Candle(series.starts[i], opened, high, low, close, volume)


def _rules(product_id: str, series: Series) -> Product:
    """The catalogue's, unless prices lie below its step: they are quoted in something else than dollars then."""
    known = listed(product_id)
    closes = set(series.close.floats)
    if known is not None and median(closes) >= known.price_increment:
        return known
    return derived(product_id, (Decimal(f"{close:.15g}") for close in closes))
