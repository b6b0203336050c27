"""Candle series for the signal tests: seeded synthetic products, and real candles."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as parquet
from real_candles import hourly_file

from modelkit.candles import CandleArrays, FloatArray

HOUR = 3600
FIRST_BAR = 473_005


def synthetic(products: int, bars: int, seed: int = 7, first_bar: int = FIRST_BAR) -> dict[str, CandleArrays]:
    """Correlated random walks with volatility clusters; the first product is BTC-USD."""
    rng = np.random.default_rng(seed)
    calm = np.exp(0.5 * np.sin(np.arange(bars) / 97.0))
    market = rng.normal(0.0, 0.006, bars) * calm
    series: dict[str, CandleArrays] = {}
    for number in range(products):
        own = rng.normal(0.0, 0.004 if number else 0.0, bars) * calm
        name = "BTC-USD" if number == 0 else f"C{number:02d}-USD"
        series[name] = walk(market * rng.uniform(0.6, 1.4) + own, rng, 10.0 ** rng.uniform(-2, 4), first_bar)
    return series


def walk(returns: FloatArray, rng: np.random.Generator, price: float, first_bar: int = FIRST_BAR) -> CandleArrays:
    bars = len(returns)
    close = price * np.exp(np.cumsum(returns))
    open_ = np.concatenate([[price], close[:-1]]) * np.exp(rng.normal(0.0, 0.0005, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.003, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.003, bars)))
    volume = np.exp(rng.normal(8.0, 0.8, bars))
    start = (first_bar + np.arange(bars, dtype=np.int64)) * HOUR
    return CandleArrays(start, open_, high, low, close, volume)


def real(products: tuple[str, ...], begin: str, end: str) -> dict[str, CandleArrays]:
    """Real hourly Coinbase candles with begin <= start < end (dates)."""
    table = parquet.read_table(hourly_file(products, end))
    names = table["product_id"].to_numpy(zero_copy_only=False)
    start = table["start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    low, high = (int(np.datetime64(text, "s").astype(np.int64)) for text in (begin, end))
    inside = (start >= low) & (start < high)
    columns = [table[name].to_numpy() for name in ("open", "high", "low", "close", "volume")]
    found: dict[str, CandleArrays] = {}
    for product in products:
        rows = inside & (names == product)
        found[product] = CandleArrays(start[rows], *(column[rows] for column in columns))
    return found


def joined(candles: dict[str, CandleArrays]) -> tuple[FloatArray, ...]:
    """start (T), then O, H, L, C, V as (P, T), then the factor: what `history` takes, for complete series."""
    series = list(candles.values())
    columns = [np.stack([getattr(one, name) for one in series]) for name in ("open", "high", "low", "close", "volume")]
    return (series[0].start, *columns, candles["BTC-USD"].close)  # type: ignore[return-value]
