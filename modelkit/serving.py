"""The newest feature row of every product, computed so that it does not matter when the process started.

A live row comes from a window whose first bar is anchored at absolute bar numbers: 351 to 518 bars, the same
for every process that computes this bar. Rows of a long history (`features.history`, which training reads) and of the
bar-by-bar engine (`features.live`) are the same bits: windows and recursive averages begin at absolute bars in all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from modelkit.candles import BoolArray, CandleArrays, FloatArray, IntArray
from modelkit.features.anchors import anchor, first_needed_bar
from modelkit.features.cleaning import Grid, Refusal, clean
from modelkit.features.definition import FACTOR_BARS, READY_BARS
from modelkit.features.history import history_stage
from modelkit.features.laststage import LastStage

__all__ = ["FeatureRows", "Unready", "anchor", "first_needed_bar", "grid_stage", "latest_rows"]


class Unready(StrEnum):
    """Why a product has no usable row at this bar."""

    NOT_READY = "NOT_READY"
    SPARSE = "SPARSE"
    NO_FACTOR = "NO_FACTOR"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """One row per product for the bar that opened at `bar * granularity`.

    `values` (P, 51) is NaN where not `ready`; `sd_24` and `sd_168` are per-bar deviations;
    `bars_since_candle` is 0 where the bar itself is a real candle and larger than 12 where there is none at
    all to go by.
    """

    products: tuple[str, ...]
    bar: int
    granularity: int
    values: FloatArray
    ready: BoolArray
    reasons: tuple[tuple[Unready, ...], ...]
    sd_24: FloatArray
    sd_168: FloatArray
    bars_since_candle: IntArray
    refused: Mapping[str, Mapping[Refusal, int]]


def latest_rows(candles: Mapping[str, CandleArrays], bar: int, granularity: int, factor_product: str) -> FeatureRows:
    """Rows of all products of `candles` at `bar`; candles outside the window are ignored, later ones too."""
    grid = clean(candles, granularity, factor_product, first_needed_bar(bar), bar)
    gap = grid.bars_since_candle()[:, -1]
    sparse = grid.sparse()[:, -1]
    grid = grid.cut(anchor(bar))
    reasons = tuple(_reasons(grid, row, bool(sparse[row]), int(grid.factor_since_reset[-1])) for row in range(len(gap)))
    ready = np.asarray([not found for found in reasons], dtype=np.bool_)
    stage = grid_stage(grid)
    return FeatureRows(
        products=grid.products,
        bar=bar,
        granularity=granularity,
        values=np.where(ready[:, None], stage.values[:, :, -1].T, np.nan),
        ready=ready,
        reasons=reasons,
        sd_24=stage.sd_24[:, -1],
        sd_168=stage.sd_168[:, -1],
        bars_since_candle=gap,
        refused=grid.refused,
    )


def grid_stage(grid: Grid) -> LastStage:
    """All features of a cleaned grid, together with the deviations per bar."""
    return history_stage(grid.start, grid.open, grid.high, grid.low, grid.close, grid.volume, grid.factor)


def _reasons(grid: Grid, row: int, sparse: bool, factor_bars: int) -> tuple[Unready, ...]:
    checks = (
        (Unready.NOT_READY, int(grid.since_reset[row, -1]) < READY_BARS),
        (Unready.SPARSE, sparse),
        (Unready.NO_FACTOR, factor_bars < FACTOR_BARS),
    )
    return tuple(reason for reason, holds in checks if holds)
