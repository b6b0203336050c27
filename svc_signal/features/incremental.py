"""The bar-by-bar engine: one step takes one bar of all products and gives the bits `features.history` gives for it.

State is a struct of arrays with the product as last axis. It ends in the same last stage as the history engine; what it
adds to it is where the window sums and recursive averages come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from svc_signal.candles import FloatArray, IntArray
from svc_signal.features.barterms import Bar, BarTerms, Before, bar_terms, stochastic_k
from svc_signal.features.definition import FACTOR_BARS, LAGS, READY_BARS
from svc_signal.features.engine_chains import Chains
from svc_signal.features.engine_windows import AgeWindow, BlockWindow, MomentWindow, StateArrays, copy_columns, slope
from svc_signal.features.laststage import Day, LastStage, Short, Stage, Week, last_stage
from svc_signal.features.scratch import Scratch

_WEEK, _DAY, _LONGEST = 168, 24, LAGS[-1]
_PRODUCT = 4
"""Row of return times factor return in the week's window."""


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
        self._before = np.full((4, count), np.nan)
        self._scratch = Scratch(count)
        self._log_closes = np.full((_LONGEST, count), np.nan)
        self._closes = np.full((_DAY, count), np.nan)
        self._returns = np.full((2 * _WEEK, count), np.nan)
        """As far back as a changed factor must be applied anew."""
        self._day = BlockWindow(24, 17, count)
        self._week = BlockWindow(168, 5, count)
        self._short_20 = BlockWindow(20, 3, count)
        self._moment_20 = MomentWindow(20, count)
        self._short_50 = BlockWindow(50, 1, count)
        self._short_7 = BlockWindow(7, 2, count)
        self._short_14 = BlockWindow(14, 4, count)
        self._short_28 = BlockWindow(28, 2, count)
        self._extremes_14 = BlockWindow(14, 2, count, np.maximum)
        self._stochastic_3 = BlockWindow(3, 1, count)
        self._ages_26 = AgeWindow(26, count)
        self._chains = Chains(count)
        self._factor_week = BlockWindow(_WEEK, 2, 1)
        self._factor_before = np.full(1, np.nan)
        self._factor_logs = np.full((_DAY, 1), np.nan)

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
            found = last_stage(self._absorb(bar, Bar(open, high, low, close, volume), factor), self._scratch)
        ready = (self.run >= READY_BARS) & (self.factor_run >= FACTOR_BARS)
        if not ready.all():
            for values in (found.values, found.sd_24, found.sd_168):
                values[..., ~ready] = np.nan
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
            self._absorb(bar, Bar(open, high, low, close, volume), factor)

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
        self._factor_week = BlockWindow(_WEEK, 2, 1)
        self._factor_before[...], self._factor_logs[...], self.factor_run = np.nan, np.nan, 0
        product = BlockWindow(_WEEK, 1, len(self.products))
        with np.errstate(invalid="ignore", divide="ignore"):
            for bar, close in zip(bars, closes, strict=True):
                factor_ret, _ = self._push_factor(bar, float(close))
                if bar > self.last_bar - len(self._returns):
                    np.multiply(self._returns[bar % len(self._returns)], factor_ret, out=product.slot(bar)[0])
                    product.push(bar)
        for (_, held), (_, made) in zip(self._week.arrays(), product.arrays(), strict=True):
            held[..., _PRODUCT, :] = made[..., 0, :]

    @property
    def last_close(self) -> FloatArray:
        """Close of the newest bar (P,), NaN where a product has none."""
        return np.asarray(self._before[2])

    def product_arrays(self) -> StateArrays:
        """Every array that has the product as its last axis."""
        yield "run", self.run
        yield "before", self._before
        yield "log_closes", self._log_closes
        yield "closes", self._closes
        yield "returns", self._returns
        for name, part in self._parts():
            for inner, array in part.arrays():
                yield f"{name}.{inner}", array

    def factor_arrays(self) -> StateArrays:
        """The state of the market factor, the same for all products."""
        yield "factor_before", self._factor_before
        yield "factor_logs", self._factor_logs
        for inner, array in self._factor_week.arrays():
            yield f"factor_week.{inner}", array

    def _parts(self) -> tuple[tuple[str, BlockWindow | MomentWindow | AgeWindow | Chains], ...]:
        return (
            ("day", self._day),
            ("week", self._week),
            ("short_20", self._short_20),
            ("moment_20", self._moment_20),
            ("short_50", self._short_50),
            ("short_7", self._short_7),
            ("short_14", self._short_14),
            ("short_28", self._short_28),
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

    def _absorb(self, number: int, bar: Bar, factor: float) -> Stage:
        if self.last_bar is not None and number != self.last_bar + 1:
            raise ValueError(f"bar {number} does not follow bar {self.last_bar}")
        self.last_bar = number
        self._scratch.reset()
        terms = bar_terms(bar, Before(*self._before), np.array([factor]), self._factor_before, self._scratch)
        present = np.isfinite(bar.close)
        begins = present & (self.run == 0)
        self.run = (self.run + 1) * present
        self._returns[number % len(self._returns)] = terms.ret
        _, factor_move_24 = self._push_factor(number, factor)
        stochastic, ages = self._push_extremes(number, bar)
        stage = Stage(
            bar=bar,
            close_time=np.array([(number + 1) * self.granularity]),
            ret=terms.ret,
            true_range=terms.true_range,
            height=terms.height,
            stochastic_k=stochastic,
            log_moves=self._log_moves(number, terms.log_close),
            move_24=bar.close - self._closes[number % _DAY],
            factor_move_24=factor_move_24,
            day=self._push_day(number, bar, terms),
            week=self._push_week(number, bar, terms),
            short=self._push_short(number, bar, terms, ages),
            smoothed=self._chains.push(number, bar, terms, begins),
        )
        self._log_closes[number % _LONGEST] = terms.log_close
        self._closes[number % _DAY] = bar.close
        for row, values in enumerate((bar.high, bar.low, bar.close, terms.typical)):
            self._before[row] = values
        return stage

    def _log_moves(self, number: int, log_close: FloatArray) -> FloatArray:
        moves = self._scratch.rows(len(LAGS))
        for lag, row in zip(LAGS, moves, strict=True):
            np.subtract(log_close, self._log_closes[(number - lag) % _LONGEST], out=row)
        return moves

    def _push_factor(self, number: int, factor: float) -> tuple[FloatArray, FloatArray]:
        """(the factor's return, its log move over 24 bars), each of one element."""
        close = np.array([factor])
        returned, square = self._factor_week.slot(number)
        np.log(close / self._factor_before, out=returned)
        np.multiply(returned, returned, out=square)
        self._factor_week.push(number)
        logs = np.log(close)
        move = logs - self._factor_logs[number % _DAY]
        self._factor_logs[number % _DAY] = logs
        self._factor_before = close
        self.factor_run = self.factor_run + 1 if np.isfinite(factor) else 0
        return returned, move

    def _push_day(self, number: int, bar: Bar, terms: BarTerms) -> Day:
        x = self._day.slot(number)
        x[0] = terms.ret
        np.multiply(terms.ret, terms.ret, out=x[1])
        np.minimum(terms.ret, 0.0, out=x[2])
        x[2] *= x[2]
        np.abs(terms.change, out=x[3])
        np.greater(terms.change, 0.0, out=x[4])
        np.multiply(terms.log_range, terms.log_range, out=x[5])
        x[6] = terms.log_body
        np.multiply(terms.log_body, terms.log_body, out=x[7])
        x[8] = terms.log_gap
        np.multiply(terms.log_gap, terms.log_gap, out=x[9])
        x[10] = terms.rogers_satchell
        x[11] = bar.volume
        x[12] = terms.money
        x[13] = terms.typical
        x[14] = terms.signed_volume
        x[15] = terms.log_close
        np.multiply(number % 24, terms.log_close, out=x[16])
        return Day(*self._day.push(number)[:15])

    def _push_week(self, number: int, bar: Bar, terms: BarTerms) -> Week:
        x = self._week.slot(number)
        x[0], x[1], x[2] = bar.close, bar.volume, terms.ret
        np.multiply(terms.ret, terms.ret, out=x[3])
        np.multiply(terms.ret, terms.factor_ret, out=x[_PRODUCT])
        close, volume, ret, square, product = self._week.push(number)
        factor, factor_square = self._factor_week.total
        return Week(close, volume, ret, square, factor, factor_square, product)

    def _push_extremes(self, number: int, bar: Bar) -> tuple[FloatArray, FloatArray]:
        """(the stochastic, the ages of lowest low and highest high)."""
        extremes = self._extremes_14.slot(number)
        np.negative(bar.low, out=extremes[0])
        extremes[1] = bar.high
        ages = self._ages_26.push(number, extremes)
        below, highest = self._extremes_14.push(number)
        stochastic = stochastic_k(bar.close, -below, highest)
        self._stochastic_3.slot(number)[0] = stochastic
        return stochastic, ages

    def _push_short(self, number: int, bar: Bar, terms: BarTerms, ages: FloatArray) -> Short:
        x = self._short_20.slot(number)
        x[0], x[1] = bar.close, bar.volume
        np.multiply(terms.close_location, bar.volume, out=x[2])
        self._short_50.slot(number)[0] = bar.close
        swings = (terms.buying_pressure, terms.window_range, terms.positive_flow, terms.negative_flow)
        for window, count in ((self._short_7, 2), (self._short_14, 4), (self._short_28, 2)):
            for row, values in zip(window.slot(number), swings[:count], strict=True):
                row[...] = values
        close_20, volume_20, accumulation_20 = self._short_20.push(number)
        pressure_7, range_7 = self._short_7.push(number)
        pressure_14, range_14, positive_14, negative_14 = self._short_14.push(number)
        pressure_28, range_28 = self._short_28.push(number)
        return Short(
            close_20=close_20,
            moment_20=self._moment_20.push(number, bar.close),
            volume_20=volume_20,
            accumulation_20=accumulation_20,
            close_50=self._short_50.push(number)[0],
            pressure=(pressure_7, pressure_14, pressure_28),
            ranges=(range_7, range_14, range_28),
            positive_flow_14=positive_14,
            negative_flow_14=negative_14,
            stochastic_3=self._stochastic_3.push(number)[0],
            low_age_26=ages[0],
            high_age_26=ages[1],
            slope_24=slope(self._day, number, plain=15, indexed=16),
        )
