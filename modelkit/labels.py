"""What happened after a bar: the triple-barrier label with the cost rule.

Barriers stand K sigma above and below the decision price, and the horizon ends after H bars. The first touch
decides; both barriers in one bar count as DOWN, and a rise that cannot pay its round trip is NEUTRAL: both
choices are pessimistic for an account that can only be long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.features.cleaning import Grid

NO_LABEL = -1
_SIGMA_FLOOR = 1e-4
_FILLED_SHARE = 0.10


class Outcome(IntEnum):
    """Class codes of the model, in the order of its probability columns."""

    DOWN = 0
    NEUTRAL = 1
    UP = 2


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Horizon, barrier width K and costs; fee and slippage are ratios of notional per side."""

    horizon_bars: int = 24
    barrier_width: float = 1.0
    fee_ratio: float = 0.009
    slippage_ratio: float = 0.0005
    margin_ratio: float = 0.002

    @property
    def round_trip_cost(self) -> float:
        return 2.0 * (self.fee_ratio + self.slippage_ratio)


def barrier_sigma(sd_24: FloatArray, sd_168: FloatArray, horizon_bars: int) -> FloatArray:
    """Expected deviation of the log price over the horizon, from the deviations per bar."""
    per_bar = np.sqrt((np.square(sd_24) + np.square(sd_168)) / 2.0)
    return np.asarray(np.maximum(per_bar, _SIGMA_FLOOR) * np.sqrt(float(horizon_bars)))


def label(grid: Grid, sigma: FloatArray, ready: BoolArray, rule: LabelRule) -> IntArray:
    """Outcome codes (P, T), `NO_LABEL` where the row is not ready or its future is incomplete, reset or
    sparse."""
    return label_with_life(grid, sigma, ready, rule)[0]


def label_with_life(grid: Grid, sigma: FloatArray, ready: BoolArray, rule: LabelRule) -> tuple[IntArray, IntArray]:
    """As `label`, with the bars each label lived: it was decided by bar t + life, at most H."""
    barrier = rule.barrier_width * sigma
    touched, life = _first_touch(grid, barrier, rule.horizon_bars)
    decided = np.where((touched == Outcome.UP) & ~pays(barrier, rule), int(Outcome.NEUTRAL), touched)
    usable = ready & np.isfinite(sigma) & _whole_future(grid, rule.horizon_bars)
    return np.where(usable, decided, NO_LABEL), life


def pays(barrier: FloatArray, rule: LabelRule) -> BoolArray:
    """True where a move to the barrier covers the round trip and the margin, so that the row may be UP at
    all."""
    return np.asarray(barrier > rule.round_trip_cost + rule.margin_ratio)


def _first_touch(grid: Grid, barrier: FloatArray, horizon: int) -> tuple[IntArray, IntArray]:
    """Which barrier was touched first, and how many bars after t; the horizon where none was."""
    log_close = np.log(grid.close)
    above, below = log_close + barrier, log_close - barrier
    log_high, log_low = np.log(grid.high), np.log(grid.low)
    touched = np.full(grid.close.shape, int(Outcome.NEUTRAL), dtype=np.int64)
    life = np.full(grid.close.shape, horizon, dtype=np.int64)
    open_yet = np.ones(grid.close.shape, dtype=np.bool_)
    for step in range(1, min(horizon, grid.bars - 1) + 1):
        now = np.s_[:, : grid.bars - step]
        up = log_high[:, step:] >= above[now]
        down = log_low[:, step:] <= below[now]
        fresh = open_yet[now]
        touched[now] = np.where(fresh & up, int(Outcome.UP), touched[now])
        touched[now] = np.where(fresh & down, int(Outcome.DOWN), touched[now])
        life[now] = np.where(fresh & (up | down), step, life[now])
        open_yet[now] = fresh & ~(up | down)
    return touched, life


def _whole_future(grid: Grid, horizon: int) -> BoolArray:
    """True where bars t+1..t+H exist in the same run and at most a tenth of them were filled."""
    whole = np.zeros(grid.close.shape, dtype=np.bool_)
    if grid.bars <= horizon:
        return whole
    filled = np.cumsum(grid.filled, axis=1, dtype=np.int64)
    few = filled[:, horizon:] - filled[:, :-horizon] <= _FILLED_SHARE * horizon
    unbroken = grid.since_reset[:, horizon:] - grid.since_reset[:, :-horizon] == horizon
    whole[:, :-horizon] = few & unbroken & (grid.since_reset[:, :-horizon] > 0)
    return whole
