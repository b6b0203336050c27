"""`python -m bench.features [--quick] [--json FILE]`: a table, and the same figures as JSON.

All figures are CPU time of the one thread, so that neighbours on the machine count for less than on the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.features.talib_rows import COMPARABLE, WINDOW, newest_row
from bench.features.ten import by_history, by_talib
from modelkit.candles import FloatArray
from modelkit.features.history import history
from modelkit.features.incremental import FeatureEngine
from modelkit.features.live import LiveFeatures

FIRST_BAR, HOUR = 470_000, 3600
FREQTRADE_MS = 12.6
"""Published with the feature set: one warm `analyze_ticker` with 51 indicators on 999 rows. Not run here."""


Bar = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Market:
    """Seeded candles: open, high, low, close, volume as (5, T, P)."""

    fields: FloatArray

    def at(self, t: int) -> Bar:
        open_, high, low, close, volume = self.fields[:, t]
        return open_, high, low, close, volume

    @staticmethod
    def of(products: int, bars: int) -> Market:
        rng = np.random.default_rng(7)
        returns = rng.normal(0.0, 0.006, (bars, products))
        close = np.exp(rng.normal(3.0, 1.0, products) + np.cumsum(returns, axis=0))
        open_ = close * np.exp(-returns)
        high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.003, close.shape)))
        low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.003, close.shape)))
        return Market(np.stack((open_, high, low, close, np.exp(rng.normal(8.0, 0.8, close.shape)))))


def timed(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def step_times(engine: FeatureEngine, market: Market, bars: int, between: Callable[[int], None]) -> FloatArray:
    """Seconds of each step after the warm-up; `between` is called before each."""
    taken = []
    for t in range(WINDOW):
        bar = market.at(t)
        engine.warm(FIRST_BAR + t, *bar, float(bar[3][0]))
    for t in range(WINDOW, WINDOW + bars):
        between(t)
        bar = market.at(t)
        begin = time.thread_time()
        engine.step(FIRST_BAR + t, *bar, float(bar[3][0]))
        taken.append(time.thread_time() - begin)
    return np.array(taken)


def engine_of(products: int) -> FeatureEngine:
    return FeatureEngine([f"P{number}" for number in range(products)], HOUR, "P0")


def incremental(bars: int) -> list[Figure]:
    found = []
    for products in (1, 10, 200, 1000, 4000):
        step = step_times(engine_of(products), Market.of(products, WINDOW + bars), bars, lambda t: None) * 1e6
        median, best = float(np.median(step)), float(step.min())
        if products == 1:
            found.append(Figure("step, 1 product: the fixed cost of a bar, median", median, "us"))
            found.append(Figure("step, 1 product: the fixed cost of a bar, best", best, "us"))
            found.append(_beside_freqtrade(products, median, ">= 10"))
            continue
        target = "<= 1.0, stretch 0.5" if products == 1000 else ""
        name = f"step, {products} products"
        found.append(Figure(f"{name}, median", median / products, "us/product", target))
        found.append(Figure(f"{name}, best", best / products, "us/product"))
        found.append(Figure(f"{name}, p99", float(np.quantile(step, 0.99)) / products, "us/product"))
        if products == 1000:
            found.append(_beside_freqtrade(products, median))
    return found


def _beside_freqtrade(products: int, step_us: float, target: str = "") -> Figure:
    """freqtrade analyses one product at a time, so its cost grows with their number."""
    name = f"{products} product(s), times faster than freqtrade's published 12.6 ms each"
    return Figure(name, products * FREQTRADE_MS * 1e3 / step_us, "x", target)


def against_talib(bars: int, products: int = 1000) -> list[Figure]:
    """Engine steps and TA-Lib recomputation in turn, so that both see the same machine."""
    market = Market.of(products, WINDOW + bars)
    rows = np.ascontiguousarray(market.fields[:, :WINDOW].transpose(2, 0, 1))
    theirs = []

    def recompute(t: int) -> None:
        if t % 8 == 0:
            some = rows[t % 40 :: 40]
            theirs.append(timed(lambda: [newest_row(*_bar(one), rows[0, 3]) for one in some]) / len(some))

    ours = step_times(engine_of(products), market, bars, recompute)
    per_product, step = float(np.median(theirs)), float(np.median(ours)) / products
    return [
        Figure(f"TA-Lib, {COMPARABLE} features over {WINDOW} candles", per_product * 1e6, "us/product"),
        Figure(f"engine beside it, 51 features, {products} products", step * 1e6, "us/product", "<= 1.0"),
        Figure("ratio", per_product / step, "x", ">= 300"),
    ]


def _bar(fields: FloatArray) -> Bar:
    open_, high, low, close, volume = fields
    return open_, high, low, close, volume


def live(bars: int, products: int = 1000) -> list[Figure]:
    """From arrays of candles to rows: checks, gaps, step, reasons."""
    market = Market.of(products, WINDOW + bars)
    intake = LiveFeatures([f"P{number:04d}" for number in range(products)], HOUR, "P0000")
    taken = []
    for t in range(WINDOW + bars):
        start, bar = np.full(products, (FIRST_BAR + t) * HOUR), market.at(t)
        begin = time.thread_time()
        intake.advance_arrays(FIRST_BAR + t, start, *bar)
        taken.append(time.thread_time() - begin)
    saved = intake.dump()
    names = intake.products
    return [
        Figure(
            f"live intake, {products} products, median", float(np.median(taken[WINDOW:])) * 1e6 / products, "us/product"
        ),
        Figure("saved state", len(saved) / products / 1e3, "kB/product"),
        Figure("dump", min(timed(intake.dump) for _ in range(3)) * 1e3, "ms"),
        Figure(
            "load", min(timed(lambda: LiveFeatures.load(saved, names, HOUR, "P0000")) for _ in range(3)) * 1e3, "ms"
        ),
    ]


def long_history(repeats: int, bars: int = 10_000) -> list[Figure]:
    high, low, close, volume = Market.of(1, bars).fields[1:, :, 0].copy()
    fields = (high, low, close, volume)
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(timed(lambda: by_talib(fields)))
        ours.append(timed(lambda: by_history(fields, FIRST_BAR)))
    check(by_history(fields, FIRST_BAR), by_talib(fields))
    whole = _bar(Market.of(16, bars).fields.transpose(0, 2, 1).copy())
    start = (FIRST_BAR + np.arange(bars, dtype=np.int64)) * HOUR
    full = min(timed(lambda: history(start, *whole, whole[3][0])) for _ in range(3))
    mine, talib_ms = float(np.median(ours)) * 1e3, float(np.median(theirs)) * 1e3
    return [
        Figure(f"ten indicators, {bars} candles, TA-Lib", talib_ms, "ms"),
        Figure(f"ten indicators, {bars} candles, history engine", mine, "ms"),
        Figure("times TA-Lib", mine / talib_ms, "x", "<= 4, stretch 2"),
        Figure("history, all 51 features", full * 1e6 / 16 / bars, "us/candle"),
    ]


def check(ours: dict[str, FloatArray], theirs: dict[str, FloatArray]) -> None:
    """A comparison of speed is worth something only between equal answers."""
    for name, values in ours.items():
        gap = float(
            np.nanmax(np.abs(values[1000:] - theirs[name][1000:]) / np.maximum(1.0, np.abs(theirs[name][1000:])))
        )
        if not gap < 1e-7:
            raise SystemExit(f"{name} differs from TA-Lib by {gap}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.features", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    parser.add_argument("--json", type=Path, default=Path("bench-features.json"), metavar="FILE")
    options = parser.parse_args()
    bars = 60 if options.quick else 600
    figures = [*incremental(bars), *against_talib(bars), *live(bars), *long_history(20 if options.quick else 100)]
    table = Table("measured", "value", "unit", "target", title="features, one thread")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:.3f}", figure.unit, figure.target)
    Console().print(table)
    about = {"python": platform.python_version(), "numpy": np.__version__, "load": os.getloadavg()[0]}
    options.json.write_text(json.dumps({**about, "figures": [asdict(one) for one in figures]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
