"""How a position is left when nobody decides to leave it: by the stop, the target and the time limit of live trading.

Pure, for all products and bars at once. The prices are those of `svc_bridge.exit_plan`, the label's barriers around the close of
the decision; which of them comes first is the rule of `svc_executor.exit_plan`. What a candle does not tell counts against the
account: its open comes before all else, and of a low and a high that both end the position the low.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.features.cleaning import Grid

NEVER: Final = 1 << 30
"""The life of what only a SELL ends."""


class Exit(IntEnum):
    """Why a position was left. The first four are the executor's `ExitTrigger`; END is the end of the bars that are traded."""

    STOP = 0
    TARGET = 1
    TRAILING_STOP = 2
    TIME_LIMIT = 3
    SELL = 4
    END = 5


@dataclass(frozen=True, slots=True)
class Way:
    """How decisions are traded. `trailing` is a share below the highest price since the entry, None for no trailing stop.

    `maker`: an entry is a limit order at the close that was decided at, with a life of one bar, and not a market order.
    """

    protective: bool = True
    trailing: float | None = None
    maker: bool = False


LIVE: Final = Way()
"""Live trading as long as nothing else is set."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What an entry decided at the close of bar t comes to if no SELL ends it first, (P, T) each.

    `filled`: bar t+1 fills it. `open_to_paid`: the open of t+1 by the price paid. `life`: it is held from the open after bar t to
    the open after bar t + life, or, where a price ends it, to that price in bar t + life. `reason`: an `Exit`. `sold_to_open`:
    that price by the open of its bar; 1 where none ends it.
    """

    filled: BoolArray
    open_to_paid: FloatArray
    life: IntArray
    reason: IntArray
    sold_to_open: FloatArray

    def part(self, begin: int, end: int) -> Entries:
        inside = np.s_[:, begin:end]
        return Entries(
            self.filled[inside],
            self.open_to_paid[inside],
            self.life[inside],
            self.reason[inside],
            self.sold_to_open[inside],
        )


def entries_of(grid: Grid, barrier: FloatArray, horizon_bars: int, way: Way) -> Entries:
    """`barrier` (P, T) is the distance of stop and target from the close, as a log return; they and the limit of `horizon_bars`
    are those of the label."""
    filled = np.zeros(grid.close.shape, dtype=np.bool_)
    open_to_paid = np.ones(grid.close.shape)
    if way.maker:
        # At the limit's own price others were there first: only what trades below it has filled it for sure.
        filled[:, :-1] = grid.low[:, 1:] < grid.close[:, :-1]
        open_to_paid[:, :-1] = np.where(filled[:, :-1], grid.open[:, 1:] / grid.close[:, :-1], 1.0)
    else:
        filled[:, :-1] = np.isfinite(grid.open[:, 1:])
    left = _Left.by_time(grid, horizon_bars) if way.protective else _Left.never(grid)
    if way.protective:
        _leave_by_price(left, grid, barrier, horizon_bars, way)
    return Entries(filled, open_to_paid, left.life, left.reason, left.sold_to_open)


@dataclass(frozen=True, slots=True)
class _Left:
    """The part of `Entries` about the end, changed in place."""

    life: IntArray
    reason: IntArray
    sold_to_open: FloatArray

    @staticmethod
    def never(grid: Grid) -> _Left:
        shape = grid.close.shape
        return _Left(np.full(shape, NEVER), np.full(shape, int(Exit.END)), np.ones(shape))

    @staticmethod
    def by_time(grid: Grid, horizon_bars: int) -> _Left:
        """Sold at the first open at or after the horizon's end."""
        bars = grid.bars
        position = np.arange(bars)
        next_open = np.full((len(grid.open), bars + horizon_bars + 1), bars)
        known = np.where(np.isfinite(grid.open), position, bars)
        next_open[:, :bars] = np.minimum.accumulate(known[:, ::-1], axis=1)[:, ::-1]
        sold = next_open[:, position + horizon_bars + 1]
        life = np.where(sold < bars, sold - 1 - position, NEVER)
        return _Left(life, np.full(life.shape, int(Exit.TIME_LIMIT)), np.ones(life.shape))

    def leave(self, now: tuple[slice, slice], hit: BoolArray, step: int, reason: IntArray, ratio: FloatArray) -> None:
        self.life[now][hit] = step
        self.reason[now][hit] = reason[hit]
        self.sold_to_open[now][hit] = ratio[hit]


def _leave_by_price(left: _Left, grid: Grid, barrier: FloatArray, horizon_bars: int, way: Way) -> None:
    """Bar by bar of the life of every entry at once; the first price that comes ends it."""
    stop, target = grid.close * np.exp(-barrier), grid.close * np.exp(barrier)
    held = np.isfinite(stop)
    peak = np.full(stop.shape, np.nan)
    for step in range(1, min(horizon_bars, grid.bars - 1) + 1):
        now = np.s_[:, : grid.bars - step]
        opens, high, low = (each[:, step:] for each in (grid.open, grid.high, grid.low))
        lower, upper = stop[now], target[now]
        floor = lower if way.trailing is None else np.fmax(lower, peak[now] * (1.0 - way.trailing))
        # A limit that fills within its bar may have filled after the bar's high.
        above = (high >= upper) & (not way.maker or step > 1)
        down = held[now] & (low <= floor) & ~(above & (opens >= upper))
        up = held[now] & above & ~down
        # What opens above its target before anything rests at the exchange is sold at the market.
        won = np.maximum(opens, upper) if step == 1 else upper
        why = np.where(
            up, int(Exit.TARGET), np.where(np.fmin(floor, opens) <= lower, int(Exit.STOP), int(Exit.TRAILING_STOP))
        )
        left.leave(now, up | down, step, why, np.where(up, won, np.minimum(opens, floor)) / opens)
        held[now] &= ~(up | down)
        if way.trailing is not None:
            peak[now] = np.fmax(peak[now], high)
