"""The bar-by-bar engine: one step takes one bar of all products and gives the bits `features.history` gives for it.

State is a struct of arrays with the product as last axis. A bar's terms are written once, into two rings that all windows
read; results go straight into the arrays of the last stage, which is that of the history engine. A step is some twenty
calls into compiled loops, and allocates next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from modelkit.features.barterms import BarTerms, Before
from modelkit.features.compiled import compiled
from modelkit.features.daytime import WEEK_SECONDS, time_features
from modelkit.features.definition import FACTOR_BARS, FEATURE_COUNT, LAGS, READY_BARS
from modelkit.features.engine_chains import Chains
from modelkit.features.engine_windows import AgeWindow, BlockWindow, Shifts, StateArrays, copy_columns, slope
from modelkit.features.laststage import LastStage, Stage, last_stage
from modelkit.features.memory import aligned
from modelkit.features.rows import (
    ACCUMULATION,
    CLOSE,
    CLOSE_LONG,
    DAY_FIRST,
    DAY_LOG_CLOSE,
    DAY_LONG,
    DAY_SHORT,
    DAY_SUMS,
    EXTREMES,
    INDEXED,
    LINREG_SLOPE_24,
    LOG_CLOSE,
    LONG_CLOSE,
    LONG_TERMS,
    PRODUCT,
    RET,
    SHIFTED,
    SHIFTED_SQUARE,
    SHORT_TERMS,
    STOCH_D_14_3,
    STOCH_K_14,
    STOCHASTIC,
    SWINGS,
    SWINGS_FLOWS,
    TRADED_LONG,
    TYPICAL,
    WEEK_LONG,
)
from modelkit.features.windows import stochastics

_WEEK, _DAY, _SHORT = 168, 24, 28


class FeatureEngine:
    """All state of the 51 features for many products; feed it consecutive bars."""

    def __init__(self, products: Sequence[str], granularity: int, factor_product: str) -> None:
        self.products = tuple(products)
        self.granularity = granularity
        self.factor_product = factor_product
        self.last_bar: int | None = None
        self.factor_run = 0
        count = len(self.products)
        self.run: IntArray = np.zeros(count, dtype=np.int64)
        """Bars since the product's last reset."""
        self._youngest = 0
        """The least of them, as far as it matters; 0 where a product has no bar or has just begun."""
        self._long = aligned(_WEEK, LONG_TERMS, count, fill=np.nan)
        self._short = aligned(_SHORT, SHORT_TERMS, count, fill=np.nan)
        self._returns = aligned(2 * _WEEK, count, fill=np.nan)
        """As far back as a changed factor must be applied anew."""
        self._day = BlockWindow(_DAY, ((self._long, DAY_LONG), (self._short, DAY_SHORT)))
        self._week = BlockWindow(_WEEK, ((self._long, WEEK_LONG),))
        moments = slice(ACCUMULATION, SHIFTED_SQUARE + 1)
        self._sums_20 = BlockWindow(20, ((self._long, TRADED_LONG), (self._short, moments)), shown=3)
        self._shifts_20 = Shifts(20, count)
        self._sums_50 = BlockWindow(50, ((self._long, CLOSE_LONG),))
        self._sums_7 = BlockWindow(7, ((self._short, SWINGS),))
        self._sums_14 = BlockWindow(14, ((self._short, SWINGS_FLOWS),))
        self._sums_28 = BlockWindow(28, ((self._short, SWINGS),))
        self._extremes_14 = BlockWindow(14, ((self._short, EXTREMES),), largest=True)
        self._stochastic_3 = BlockWindow(3, ((self._short, slice(STOCHASTIC, STOCHASTIC + 1)),))
        self._ages_26 = AgeWindow(26, self._short, EXTREMES)
        self._chains = Chains(count)
        self._factor_terms = aligned(_WEEK, 2, 1, fill=np.nan)
        self._factor_week = BlockWindow(_WEEK, ((self._factor_terms, slice(0, 2)),))
        self._factor_before = aligned(1, fill=np.nan)
        self._factor_logs = aligned(_DAY, 1, fill=np.nan)
        cycle = lcm(granularity, WEEK_SECONDS) // granularity
        self._times = time_features((1 + np.arange(cycle)) * granularity).T[:, :, None]
        """By bar of the cycle after which hours and weekdays repeat."""
        self._terms = BarTerms(count)
        self._extremes = aligned(2, count)
        """Highest high and lowest low of 14 bars, this negative."""
        self._factor_ret, self._place = aligned(count), aligned(count)
        self._stage = self._empty_stage(count)

    def _empty_stage(self, count: int) -> Stage:
        """What every step fills anew, so that no step allocates it."""
        averages, trix_before = self._chains.results
        return Stage(
            values=aligned(FEATURE_COUNT, count),
            bar=aligned(5, count),
            time=aligned(4, 1),
            ret=aligned(count),
            own=self._terms.own,
            move_24=aligned(count),
            factor_move_24=np.empty(1),
            day=aligned(DAY_SUMS, count),
            week=aligned(WEEK_LONG.stop, count),
            factor_week=aligned(2, 1),
            short_20=aligned(3, count),
            moment_20=aligned(count),
            close_50=aligned(count),
            swings=aligned(8, count),
            ages_26=aligned(2, count),
            smoothed=averages,
            trix_before=trix_before,
            deviations=aligned(2, count),
        )

    def step(
        self,
        bar: int,
        open: FloatArray,
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray,
        factor: float,
    ) -> LastStage:
        """Features (51, P) of bar number `bar`; a NaN price means that the product has no bar.

        NaN where the product has fewer than 350 bars or the factor fewer than 169. Bars must follow each other. The
        arrays are the engine's own and hold until its next bar.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            self._absorb(bar, (high, low, close, open, volume), factor)
            found = last_stage(self._stage)
        if self.factor_run < FACTOR_BARS or self._youngest < READY_BARS:
            unready = (self.run < READY_BARS) | (self.factor_run < FACTOR_BARS)
            for values in (found.values, found.sd_24, found.sd_168):
                values[..., unready] = np.nan
        return found

    def warm(
        self,
        bar: int,
        open: FloatArray,
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray,
        factor: float,
    ) -> None:
        """As `step`, for a bar whose features nobody reads."""
        with np.errstate(invalid="ignore", divide="ignore"):
            self._absorb(bar, (high, low, close, open, volume), factor)

    def select(self, products: Sequence[str]) -> FeatureEngine:
        """The same engine for these of its products, in this order."""
        chosen = FeatureEngine(products, self.granularity, self.factor_product)
        chosen._take_factor(self)
        chosen._copy_columns(self, [self.products.index(product) for product in products], list(range(len(products))))
        return chosen

    def splice(self, other: FeatureEngine) -> FeatureEngine:
        """This engine with the columns of `other`'s products replaced or, for new products, added at the end."""
        if other.last_bar != self.last_bar or other.granularity != self.granularity:
            raise ValueError("engines of different bars or granularities do not fit together")
        added = [product for product in other.products if product not in self.products]
        joined = self if not added else FeatureEngine((*self.products, *added), self.granularity, self.factor_product)
        if added:
            joined._take_factor(self)
            joined._copy_columns(self, list(range(len(self.products))), list(range(len(self.products))))
        places = [joined.products.index(product) for product in other.products]
        joined._copy_columns(other, list(range(len(other.products))), places)
        return joined

    def refactor(self, closes: FloatArray) -> None:
        """Applies a corrected factor: its closes of the last bars, the newest last, 337 or more of them."""
        assert self.last_bar is not None
        bars = range(self.last_bar - len(closes) + 1, self.last_bar + 1)
        self._factor_terms[...], self._factor_before[...], self._factor_logs[...] = np.nan, np.nan, np.nan
        self._factor_week = BlockWindow(_WEEK, ((self._factor_terms, slice(0, 2)),))
        self.factor_run = 0
        rows = slice(PRODUCT, PRODUCT + 1)
        product = BlockWindow(_WEEK, ((self._long, rows),))
        unread = aligned(1, len(self.products))
        with np.errstate(invalid="ignore", divide="ignore"):
            for bar, close in zip(bars, closes, strict=True):
                factor_ret = self._push_factor(bar, float(close))
                if bar > self.last_bar - len(self._returns):
                    returns = self._returns[bar % len(self._returns)]
                    np.multiply(returns, factor_ret, self._long[bar % _WEEK, PRODUCT])
                    product.push(bar, unread)
        for (_, held), (_, made) in zip(self._week.arrays(), product.arrays(), strict=True):
            held[..., rows, :] = made

    @property
    def last_close(self) -> FloatArray:
        """Close of the newest bar (P,), NaN where a product has none."""
        return np.asarray(self._long[(self.last_bar or 0) % _WEEK, LONG_CLOSE])

    def product_arrays(self) -> StateArrays:
        """Every array that has the product as its last axis."""
        yield "run", self.run
        yield "long", self._long
        yield "short", self._short
        yield "returns", self._returns
        for name, part in self._parts():
            for inner, array in part.arrays():
                yield f"{name}.{inner}", array

    def factor_arrays(self) -> StateArrays:
        """The state of the market factor, the same for all products."""
        yield "factor_terms", self._factor_terms
        yield "factor_before", self._factor_before
        yield "factor_logs", self._factor_logs
        for inner, array in self._factor_week.arrays():
            yield f"factor_week.{inner}", array

    def _parts(self) -> tuple[tuple[str, BlockWindow | Shifts | AgeWindow | Chains], ...]:
        return (
            ("day", self._day),
            ("week", self._week),
            ("sums_20", self._sums_20),
            ("shifts_20", self._shifts_20),
            ("sums_50", self._sums_50),
            ("sums_7", self._sums_7),
            ("sums_14", self._sums_14),
            ("sums_28", self._sums_28),
            ("extremes_14", self._extremes_14),
            ("stochastic_3", self._stochastic_3),
            ("ages_26", self._ages_26),
            ("chains", self._chains),
        )

    def _take_factor(self, other: FeatureEngine) -> None:
        self.last_bar, self.factor_run = other.last_bar, other.factor_run
        for (_, mine), (_, theirs) in zip(self.factor_arrays(), other.factor_arrays(), strict=True):
            mine[...] = theirs

    def _copy_columns(self, other: FeatureEngine, source: list[int], target: list[int]) -> None:
        copy_columns(self.product_arrays(), other.product_arrays(), source, target)

    def _absorb(self, number: int, columns: Sequence[FloatArray], factor: float) -> None:
        """Takes a bar: high, low, close, open, volume."""
        if self.last_bar is not None and number != self.last_bar + 1:
            raise ValueError(f"bar {number} does not follow bar {self.last_bar}")
        self.last_bar = number
        stage, terms = self._stage, self._terms
        for row, column in zip(stage.bar, columns, strict=True):
            row[...] = column
        long, short = self._long[number % _WEEK], self._short[number % _SHORT]
        long_before, short_before = self._long[(number - 1) % _WEEK], self._short[(number - 1) % _SHORT]
        before = Before(short_before[EXTREMES], long_before[LONG_CLOSE], short_before[TYPICAL])
        self._factor_ret.fill(self._push_factor(number, factor)[0])
        self._place.fill(float(number % _DAY))
        log_week_ago = long[LOG_CLOSE].copy()
        terms.take(stage.bar, before, self._factor_ret, self._place, long, short)
        self._returns[number % len(self._returns)] = long[RET]
        stage.ret = long[RET]
        _move(number, self._long, log_week_ago, stage.values, stage.move_24)
        self._push_windows(number, short)
        stage.time = self._times[number % len(self._times)]
        self._chains.push(number, stage.bar[CLOSE], terms.own, self._count(stage.bar[CLOSE]))

    def _count(self, close: FloatArray) -> BoolArray | None:
        """Counts the bar; products whose series begins with it, if any does."""
        present = np.isfinite(close)
        self._youngest = int(self.run.min(initial=READY_BARS)) + 1
        if self._youngest > 1 and present.all():
            self.run = self.run + 1
            return None
        self._youngest = 0
        begins = np.asarray(present & (self.run == 0))
        self.run = (self.run + 1) * present
        return begins if begins.any() else None

    def _push_factor(self, number: int, factor: float) -> FloatArray:
        """The factor's return, of one element."""
        close, stage = np.array([factor]), self._stage
        returned, square = self._factor_terms[number % _WEEK]
        np.log(close / self._factor_before, returned)
        np.multiply(returned, returned, square)
        self._factor_week.push(number, stage.factor_week)
        logs, before = np.log(close), self._factor_logs[number % _DAY]
        np.subtract(logs, before, stage.factor_move_24)
        before[...] = logs
        self._factor_before[...] = close
        self.factor_run = self.factor_run + 1 if np.isfinite(factor) else 0
        return np.asarray(returned)

    def _push_windows(self, number: int, short: FloatArray) -> None:
        stage, close = self._stage, self._stage.bar[CLOSE]
        values, swings = stage.values, stage.swings
        self._shifts_20.take(number, close, short[SHIFTED : SHIFTED_SQUARE + 1])
        self._day.push(number, stage.day)
        slope(self._day, number, DAY_LOG_CLOSE, DAY_FIRST + INDEXED, values[LINREG_SLOPE_24])
        self._week.push(number, stage.week)
        self._sums_20.push(number, stage.short_20)
        self._shifts_20.moment(number, self._sums_20, 3, stage.moment_20)
        self._sums_50.push(number, stage.close_50[None])
        self._sums_28.push(number, swings[0:2])
        self._sums_7.push(number, swings[2:4])
        self._sums_14.push(number, swings[4:8])
        self._ages_26.push(number, stage.ages_26)
        self._extremes_14.push(number, self._extremes)
        stochastics(close, self._extremes, values[STOCH_K_14])
        short[STOCHASTIC] = values[STOCH_K_14]
        self._stochastic_3.push(number, values[STOCH_D_14_3 : STOCH_D_14_3 + 1])


@compiled
def _move(number: int, long: FloatArray, log_week_ago: FloatArray, values: FloatArray, move_24: FloatArray) -> None:
    """Moves over several bars; the ring holds a week, so the oldest was put aside."""
    now = long[number % _WEEK]
    for row in range(len(LAGS)):
        lag = LAGS[row]
        before = log_week_ago if lag == _WEEK else long[(number - lag) % _WEEK, LOG_CLOSE]
        for p in range(len(move_24)):
            values[row, p] = now[LOG_CLOSE, p] - before[p]
    day_ago = long[(number - _DAY) % _WEEK, LONG_CLOSE]
    for p in range(len(move_24)):
        move_24[p] = now[LONG_CLOSE, p] - day_ago[p]
