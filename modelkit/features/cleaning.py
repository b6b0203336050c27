"""Makes the dense, oldest-first grid that every feature engine reads, and says what it refused and why.

Exchanges leave out candles without trades and send pages newest first. Bad candles are refused, never
repaired; a gap of up to `MAX_FILL` bars is bridged with flat bars, a longer one resets the product. A gap is
filled bar by bar before its length is known, because a live service stands inside the gap: history must look
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from modelkit.candles import BoolArray, CandleArrays, FloatArray, IntArray
from modelkit.features.definition import MAX_FILL, SPARSE_SHARE, SPARSE_WINDOW


class Refusal(StrEnum):
    """Why a candle was refused; the first that applies, in this order."""

    OFF_GRID = "OFF_GRID"
    NOT_FINITE = "NOT_FINITE"
    PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
    VOLUME_NEGATIVE = "VOLUME_NEGATIVE"
    HIGH_TOO_LOW = "HIGH_TOO_LOW"
    LOW_TOO_HIGH = "LOW_TOO_HIGH"


REASONS = tuple(Refusal)
ACCEPTED = -1
"""What `refusals` gives for a good candle."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Products as rows, consecutive bars as columns; NaN where a product has no bar.

    `filled` marks flat bars; `since_reset` counts bars since the last reset (1 on its first bar, 0 without
    one); `factor` is the close of the market factor and `factor_since_reset` its count.
    """

    products: tuple[str, ...]
    granularity: int
    first_bar: int
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    filled: BoolArray
    since_reset: IntArray
    factor: FloatArray
    factor_since_reset: IntArray
    refused: Mapping[str, Mapping[Refusal, int]] = field(default_factory=dict)

    @property
    def bars(self) -> int:
        return int(self.close.shape[1])

    @property
    def start(self) -> IntArray:
        """Open times of the bars, unix seconds."""
        return (self.first_bar + np.arange(self.bars, dtype=np.int64)) * self.granularity

    def sparse(self) -> BoolArray:
        """True where more than a fifth of the last 168 bars (or of those seen so far) were filled."""
        total = np.cumsum(self.filled, axis=1, dtype=np.int64)
        before = np.zeros_like(total)
        before[:, SPARSE_WINDOW:] = total[:, :-SPARSE_WINDOW]
        return np.asarray(total - before > SPARSE_SHARE * SPARSE_WINDOW)

    def bars_since_candle(self) -> IntArray:
        """Bars since the newest real candle: 0 where the bar itself is one; counted from the grid's start."""
        position = np.arange(self.bars, dtype=np.int64)
        real = np.where(np.isfinite(self.close) & ~self.filled, position, -1)
        return np.asarray(position - np.maximum.accumulate(real, axis=1))

    def cut(self, first_bar: int) -> Grid:
        """The same grid from `first_bar` on, as if the series had started there."""
        at = first_bar - self.first_bar
        ceiling = np.arange(1, self.bars - at + 1, dtype=np.int64)
        return Grid(
            self.products,
            self.granularity,
            first_bar,
            self.open[:, at:],
            self.high[:, at:],
            self.low[:, at:],
            self.close[:, at:],
            self.volume[:, at:],
            self.filled[:, at:],
            np.minimum(self.since_reset[:, at:], ceiling),
            self.factor[at:],
            np.minimum(self.factor_since_reset[at:], ceiling),
            self.refused,
        )


def clean(
    candles: Mapping[str, CandleArrays],
    granularity: int,
    factor_product: str,
    first_bar: int | None = None,
    last_bar: int | None = None,
) -> Grid:
    """One grid for all products, from `first_bar` to `last_bar` (default: all bars any product has).

    Candles outside that range are ignored. Without candles of `factor_product` the factor is NaN throughout.
    """
    accepted: dict[str, CandleArrays] = {}
    refused: dict[str, Mapping[Refusal, int]] = {}
    for product in sorted(candles):
        accepted[product], refused[product] = _accept(candles[product], granularity)
    spans = [rows.start[[0, -1]] // granularity for rows in accepted.values() if len(rows)]
    if not spans and (first_bar is None or last_bar is None):
        raise ValueError("no usable candle, and no range of bars given")
    low = int(min(span[0] for span in spans)) if first_bar is None else first_bar
    high = int(max(span[1] for span in spans)) if last_bar is None else last_bar
    lines = {name: _fill(rows, granularity, low, high - low + 1) for name, rows in accepted.items()}
    return _assemble(lines, granularity, low, high - low + 1, factor_product, refused)


@dataclass(frozen=True, slots=True)
class _Line:
    values: FloatArray
    filled: BoolArray
    since_reset: IntArray


def _assemble(
    lines: Mapping[str, _Line],
    granularity: int,
    first_bar: int,
    bars: int,
    factor_product: str,
    refused: Mapping[str, Mapping[Refusal, int]],
) -> Grid:
    open_, high, low, close, volume = np.stack([line.values for line in lines.values()], axis=1)
    factor = lines.get(factor_product)
    return Grid(
        tuple(lines),
        granularity,
        first_bar,
        open_,
        high,
        low,
        close,
        volume,
        filled=np.stack([line.filled for line in lines.values()]),
        since_reset=np.stack([line.since_reset for line in lines.values()]),
        factor=np.full(bars, np.nan) if factor is None else factor.values[3],
        factor_since_reset=np.zeros(bars, dtype=np.int64) if factor is None else factor.since_reset,
        refused=refused,
    )


def _accept(rows: CandleArrays, granularity: int) -> tuple[CandleArrays, Mapping[Refusal, int]]:
    """Good candles, oldest first, one per start; of two different ones the later given is a correction."""
    reasons = refusals(rows, granularity)
    refused = tally(reasons)
    good = rows.take(reasons == ACCEPTED)
    ordered = good.take(np.argsort(good.start, kind="stable"))
    newest = np.ones(len(ordered), dtype=np.bool_)
    newest[:-1] = ordered.start[1:] != ordered.start[:-1]
    return ordered.take(newest), refused


def tally(reasons: IntArray) -> dict[Refusal, int]:
    """How often each refusal occurs among the codes of `refusals`."""
    found, counts = np.unique(reasons[reasons != ACCEPTED], return_counts=True)
    return {REASONS[code]: int(count) for code, count in zip(found, counts, strict=True)}


def refusals(rows: CandleArrays, granularity: int) -> IntArray:
    """Per candle the position of the first reason that applies, or `ACCEPTED`."""
    prices = np.stack(rows.prices())
    with np.errstate(invalid="ignore"):
        checks = {
            Refusal.OFF_GRID: rows.start % granularity != 0,
            Refusal.NOT_FINITE: ~(np.isfinite(prices).all(axis=0) & np.isfinite(rows.volume)),
            Refusal.PRICE_NOT_POSITIVE: (prices <= 0).any(axis=0),
            Refusal.VOLUME_NEGATIVE: rows.volume < 0,
            Refusal.HIGH_TOO_LOW: rows.high < np.maximum(rows.open, rows.close),
            Refusal.LOW_TOO_HIGH: rows.low > np.minimum(rows.open, rows.close),
        }
    stacked = np.stack([checks[reason] for reason in REASONS])
    return np.where(stacked.any(axis=0), np.argmax(stacked, axis=0), ACCEPTED)


def _fill(rows: CandleArrays, granularity: int, first_bar: int, bars: int) -> _Line:
    position = rows.start // granularity - first_bar
    inside = (position >= 0) & (position < bars)
    kept, position = rows.take(inside), position[inside]
    values = np.full((5, bars), np.nan)
    values[:, position] = (*kept.prices(), kept.volume)
    newest = np.full(bars, -1, dtype=np.int64)
    newest[position] = position
    newest = np.maximum.accumulate(newest)
    age = np.arange(bars) - newest
    filled = (newest >= 0) & (age > 0) & (age <= MAX_FILL)
    values[:4, filled] = values[3, newest[filled]]
    values[4, filled] = 0.0
    present = np.isfinite(values[3])
    last_absent = np.maximum.accumulate(np.where(present, -1, np.arange(bars)))
    return _Line(values, filled, np.where(present, np.arange(bars) - last_absent, 0))
