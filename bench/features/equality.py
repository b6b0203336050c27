"""`python -m bench.features.equality FILE.parquet [--drift BARS]`: the long form of two tests.

Every feature of every bar of real candles, step by step against the history engine, counted in differing bits; and a
random walk of a million bars, the last row of which must equal one computed from its last 600 bars alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from rich.console import Console

from modelkit.candles import CandleArrays, FloatArray
from modelkit.features.cleaning import clean
from modelkit.features.incremental import FeatureEngine
from modelkit.serving import grid_stage

HOUR, FACTOR = 3600, "BTC-USD"
_CHUNK, _TAIL = 10_000, 600


def real_candles(path: Path) -> dict[str, CandleArrays]:
    table = parquet.read_table(path)
    names = table["product_id"].to_numpy(zero_copy_only=False)
    start = table["start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    open_, high, low, close, volume = (table[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))
    rows = {product: names == product for product in sorted(set(names.tolist()))}
    return {
        product: CandleArrays(start[at], open_[at], high[at], low[at], close[at], volume[at])
        for product, at in rows.items()
    }


def differing_cells(candles: dict[str, CandleArrays]) -> tuple[int, int]:
    """(cells that differ in any bit, finite cells compared)."""
    grid = clean(candles, HOUR, FACTOR)
    whole = grid_stage(grid).values
    engine = FeatureEngine(grid.products, HOUR, FACTOR)
    differing = compared = 0
    for t in range(grid.bars):
        o, h, lo, c, v = (field[:, t].copy() for field in (grid.open, grid.high, grid.low, grid.close, grid.volume))
        values = engine.step(grid.first_bar + t, o, h, lo, c, v, float(grid.factor[t])).values
        expected = np.ascontiguousarray(whole[:, :, t])
        empty = np.isnan(values) & np.isnan(expected)
        differing += int(np.count_nonzero((values.view(np.int64) != expected.view(np.int64)) & ~empty))
        compared += int(np.count_nonzero(~empty))
    return differing, compared


def drift(bars: int, products: int = 2) -> float:
    """Largest difference between the row after `bars` steps and that of an engine which saw the last 600 only."""
    rng = np.random.default_rng(11)
    names = ("A-USD", "B-USD")
    engine, late = (FeatureEngine(names, HOUR, "A-USD") for _ in range(2))
    close = np.full(products, 100.0)
    values = expected = np.empty(0)
    for first in range(0, bars, _CHUNK):
        returns = rng.normal(0.0, 0.006, (min(_CHUNK, bars - first), products))
        spread = np.abs(rng.normal(0.0, 0.003, returns.shape))
        for t, (move, wide) in enumerate(zip(returns, spread, strict=True), start=first):
            open_, close = close, close * np.exp(move - 0.001 * (np.log(close) - np.log(100.0)))
            high, low = np.maximum(open_, close) * (1.0 + wide), np.minimum(open_, close) * (1.0 - wide)
            bar: tuple[FloatArray, ...] = (open_, high, low, close, np.exp(8.0 + 100.0 * move))
            o, h, lo, c, v = bar
            if t < bars - 1:
                engine.warm(t, o, h, lo, c, v, float(close[0]))
                if t >= bars - _TAIL:
                    late.warm(t, o, h, lo, c, v, float(close[0]))
            else:
                values = engine.step(t, o, h, lo, c, v, float(close[0])).values.copy()
                expected = late.step(t, o, h, lo, c, v, float(close[0])).values
    return float(np.abs(values - expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.features.equality", description=__doc__)
    parser.add_argument("candles", type=Path, metavar="FILE.parquet")
    parser.add_argument("--drift", type=int, default=1_000_000, metavar="BARS")
    options = parser.parse_args()
    console = Console()
    candles = real_candles(options.candles)
    differing, compared = differing_cells(candles)
    console.print(f"{len(candles)} products, {compared} cells compared, {differing} differ")
    gap = drift(options.drift)
    console.print(f"largest difference after {options.drift} bars: {gap:.1e}")
    raise SystemExit(1 if differing or not gap <= 1e-9 else 0)


if __name__ == "__main__":
    main()
