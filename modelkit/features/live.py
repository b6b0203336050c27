"""Live intake: one bar of candles of all products in, the newest feature rows out.

Whatever arrives (nothing, refused, twice, late, contradicting), the rows are those `serving.latest_rows` computes from
the same candles, to the bit. Late and corrected candles are counted and named in `outdated`; they take effect when their
product is recomputed from stored candles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from modelkit.candles import CandleArrays, FloatArray, IntArray
from modelkit.features.anchors import CHAIN_BARS, first_needed_bar
from modelkit.features.cleaning import ACCEPTED, Refusal, refusals, tally
from modelkit.features.definition import FACTOR_BARS, MAX_FILL, READY_BARS, feature_set_hash
from modelkit.features.engine_windows import StateArrays, copy_columns
from modelkit.features.incremental import FeatureEngine
from modelkit.features.live_cleaning import LiveCleaning
from modelkit.features.live_state import StateFault, StateRefused, expect, fill_arrays, pack, unpack, whole_number
from modelkit.serving import FeatureRows, Unready

__all__ = ["Counts", "LiveFeatures", "StateFault", "StateRefused"]

_REACH = CHAIN_BARS + MAX_FILL
"""Bars back to the oldest one that can matter to a row."""
_REASON_SETS = tuple(
    tuple(reason for place, reason in enumerate(Unready) if code >> place & 1) for code in range(1 << len(Unready))
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the intake has seen since it began, for metrics."""

    late: int = 0
    """Older than the newest bar, or for a bar that was already passed without one."""
    duplicate: int = 0
    corrected: int = 0
    """The same start with other values."""
    future: int = 0
    unknown: int = 0
    """Of a product that is not served."""
    filled: int = 0
    """Missing candles bridged with a flat bar."""
    resets: int = 0
    refused: Mapping[Refusal, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Good candles of a call, sorted by bar (of one bar in the order given), with their product's column."""

    bars: IntArray
    column: IntArray
    values: FloatArray


class LiveFeatures:
    """The newest feature rows of a set of products, kept by one engine step per bar."""

    def __init__(self, products: Iterable[str], granularity: int, factor_product: str) -> None:
        self.granularity = granularity
        self.factor_product = factor_product
        self.outdated: frozenset[str] = frozenset()
        """Products with a late or corrected candle, to be recomputed from stored candles."""
        self._engine = FeatureEngine(sorted(set(products)), granularity, factor_product)
        self._cleaning = LiveCleaning(len(self.products))
        self._factor_closes = np.full(_REACH, np.nan)
        self._counts: Counter[str] = Counter()
        self._refused: Counter[Refusal] = Counter()
        self._index()

    @property
    def products(self) -> tuple[str, ...]:
        """In the order of the rows: sorted."""
        return self._engine.products

    @property
    def last_bar(self) -> int | None:
        return self._engine.last_bar

    @property
    def counts(self) -> Counts:
        return Counts(**self._counts, refused=dict(self._refused))

    @classmethod
    def rebuild(
        cls,
        candles: Mapping[str, CandleArrays],
        bar: int,
        granularity: int,
        factor_product: str,
    ) -> LiveFeatures:
        """From the stored candles of [first_needed_bar(bar), bar]: later rows are those of one that never stopped."""
        made = cls(candles, granularity, factor_product)
        batch, _ = made._judge(candles)
        made._catch_up(batch, bar)
        made._pass(bar, made._candles_at(batch, bar))
        return made

    def advance(self, bar: int, candles: Mapping[str, CandleArrays]) -> FeatureRows:
        """Rows at `bar`. Bars since the last call are taken from `candles` too; what they lack is missing."""
        batch, refused = self._judge(candles)
        self._catch_up(batch, bar)
        return self._rows(bar, self._candles_at(batch, bar), refused)

    def advance_arrays(
        self,
        bar: int,
        start: IntArray,
        open: FloatArray,
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray,
    ) -> FeatureRows:
        """As `advance`, with at most one candle per product in the order of `products`; five NaN mean no candle."""
        values = np.stack((open, high, low, close, volume))
        given = np.flatnonzero(~np.isnan(values).all(axis=0))
        rows = CandleArrays(start, open, high, low, close, volume)
        if len(given) < len(start):
            rows, values = rows.take(given), values[:, given]
        batch, refused = self._judged(rows, values, given)
        self._catch_up(batch, bar)
        return self._rows(bar, self._candles_at(batch, bar), refused)

    def note(self, candles: Mapping[str, CandleArrays]) -> frozenset[str]:
        """Counts candles of bars that have passed, without a step; the products that must be recomputed."""
        batch, _ = self._judge(candles)
        last = self.last_bar
        self._count("future", int(np.count_nonzero(batch.bars > last)) if last is not None else len(batch.bars))
        if last is not None:
            self._passed(batch, np.flatnonzero(batch.bars <= last))
        return self.outdated

    def recompute(self, product: str, candles: CandleArrays) -> None:
        """Makes a product anew from its stored candles of [first_needed_bar(last_bar), last_bar].

        A product that is not here yet is added. If it is the factor, what other products take from it follows.
        """
        if self.last_bar is None:
            raise ValueError("no bar has been taken yet")
        fresh = LiveFeatures((product,), self.granularity, self.factor_product)
        if product != self.factor_product:
            fresh._factor_closes = self._factor_closes
        batch, _ = fresh._judge({product: candles})
        kept = np.flatnonzero((batch.bars >= first_needed_bar(self.last_bar)) & (batch.bars <= self.last_bar))
        batch = _Batch(batch.bars[kept], batch.column[kept], batch.values[:, kept])
        fresh._catch_up(batch, self.last_bar)
        fresh._pass(self.last_bar, fresh._candles_at(batch, self.last_bar))
        if product == self.factor_product:
            self._factor_closes = fresh._factor_closes
            order = np.arange(self.last_bar - _REACH + 1, self.last_bar + 1) % _REACH
            self._engine.refactor(self._factor_closes[order])
        self._adopt(fresh)
        self.outdated -= {product}

    def dump(self) -> bytes:
        """The whole state, to the bit."""
        header = {**self._identity(), "last_bar": self.last_bar, "factor_run": self._engine.factor_run}
        return pack(header, self._arrays())

    @classmethod
    def load(cls, content: bytes, products: Iterable[str], granularity: int, factor_product: str) -> LiveFeatures:
        """What `dump` gave, for the same products; anything else raises StateRefused."""
        made = cls(products, granularity, factor_product)
        header, body = unpack(content)
        reasons = (StateFault.FEATURE_SET, StateFault.GRANULARITY, StateFault.FACTOR, StateFault.PRODUCTS)
        identity = made._identity().items()
        expect(header, {name: (reason, value) for (name, value), reason in zip(identity, reasons, strict=True)})
        fill_arrays(made._arrays(), body)
        made._engine.last_bar = None if header.get("last_bar") is None else whole_number(header, "last_bar", -(2**52))
        made._engine.factor_run = whole_number(header, "factor_run", 0)
        if (made._engine.run < 0).any():
            raise StateRefused(StateFault.VALUES, "a run of bars is negative")
        return made

    def _identity(self) -> dict[str, object]:
        return {
            "feature_set": feature_set_hash(self.granularity),
            "granularity": self.granularity,
            "factor_product": self.factor_product,
            "products": list(self.products),
        }

    def _arrays(self) -> StateArrays:
        yield from self._engine.product_arrays()
        yield from self._engine.factor_arrays()
        yield from self._cleaning.arrays()
        yield "factor_closes", self._factor_closes

    def _index(self) -> None:
        self._columns = {product: column for column, product in enumerate(self.products)}
        self._factor_column = self._columns.get(self.factor_product)

    def _count(self, name: str, amount: int) -> None:
        if amount:
            self._counts[name] += amount

    def _judge(self, candles: Mapping[str, CandleArrays]) -> tuple[_Batch, Mapping[str, Mapping[Refusal, int]]]:
        known = [(self._columns[product], rows) for product, rows in candles.items() if product in self._columns]
        self._count("unknown", sum(len(rows) for product, rows in candles.items() if product not in self._columns))
        if not known:
            nothing = np.empty(0, dtype=np.int64)
            return _Batch(nothing, nothing, np.empty((5, 0))), {}
        names = ("start", "open", "high", "low", "close", "volume")
        joined = [np.concatenate([getattr(rows, name) for _, rows in known]) for name in names]
        column = np.repeat([place for place, _ in known], [len(rows) for _, rows in known])
        return self._judged(CandleArrays(*joined), np.stack(joined[1:]), column)

    def _judged(
        self, rows: CandleArrays, values: FloatArray, column: IntArray
    ) -> tuple[_Batch, Mapping[str, Mapping[Refusal, int]]]:
        """The good candles, and the refusals by product."""
        reasons = refusals(rows, self.granularity)
        bars = rows.start // self.granularity
        refused: dict[str, Mapping[Refusal, int]] = {}
        bad = reasons != ACCEPTED
        if bad.any():
            self._refused.update(tally(reasons))
            for place in np.unique(column[bad]).tolist():
                refused[self.products[place]] = tally(reasons[column == place])
            bars, column, values = bars[~bad], column[~bad], values[:, ~bad]
        if len(bars) and (bars != bars[0]).any():
            order = np.argsort(bars, kind="stable")
            bars, column, values = bars[order], column[order], values[:, order]
        return _Batch(bars, column, values), refused

    def _catch_up(self, batch: _Batch, bar: int) -> None:
        """Everything before `bar`: late candles are counted, bars not taken yet are passed."""
        last = self.last_bar
        if last is not None and bar <= last:
            raise ValueError(f"bar {bar} is not newer than bar {last}")
        self._count("future", len(batch.bars) - int(np.searchsorted(batch.bars, bar, "right")))
        first = first_needed_bar(bar) if last is None or bar - last > _REACH else last + 1
        old = int(np.searchsorted(batch.bars, first))
        if old:
            self._passed(batch, np.arange(old))
        if last is None or first > last + 1:
            self._forget()
            first = min(bar, int(batch.bars[old])) if old < len(batch.bars) else bar
        for skipped in range(first, bar):
            self._pass(skipped, self._candles_at(batch, skipped))

    def _forget(self) -> None:
        """Starts anew: the bars that could matter were all missed."""
        self._engine = FeatureEngine(self.products, self.granularity, self.factor_product)
        self._cleaning = LiveCleaning(len(self.products))
        if self._factor_column is not None:
            self._factor_closes = np.full(_REACH, np.nan)

    def _passed(self, batch: _Batch, rows: IntArray) -> None:
        """Counts good candles of bars already taken and names the products to recompute."""
        last = self.last_bar
        needed = None if last is None else first_needed_bar(last)
        newest = self._cleaning.newest[:, batch.column[rows]]
        given = batch.values[:, rows]
        at_last = batch.bars[rows] == last
        same = at_last & (newest == given).all(axis=0)
        corrected = at_last & ~same & ~np.isnan(newest[3])
        self._count("duplicate", int(np.count_nonzero(same)))
        self._count("corrected", int(np.count_nonzero(corrected)))
        self._count("late", int(np.count_nonzero(~same & ~corrected)))
        if needed is not None:
            matter = rows[~same & (batch.bars[rows] >= needed)]
            self.outdated |= {self.products[place] for place in batch.column[matter].tolist()}

    def _candles_at(self, batch: _Batch, bar: int) -> FloatArray:
        """Candles (5, P) of a bar, NaN where a product has none; of two for one product the later given counts."""
        begin, end = np.searchsorted(batch.bars, (bar, bar + 1)).tolist()
        found = np.full((5, len(self.products)), np.nan)
        column, values = batch.column[begin:end], batch.values[:, begin:end]
        found[:, column] = values
        present = int(np.count_nonzero(~np.isnan(found[3])))
        if present < end - begin:
            self._repeated(column, values, end - begin - present)
        return found

    def _repeated(self, column: IntArray, values: FloatArray, extra: int) -> None:
        """Several candles of one product and bar in one call: each against the one before it."""
        seen: dict[int, FloatArray] = {}
        corrected = 0
        for place, value in zip(column.tolist(), values.T, strict=True):
            corrected += place in seen and not np.array_equal(seen[place], value)
            seen[place] = value
        self._count("corrected", corrected)
        self._count("duplicate", extra - corrected)

    def _clean(self, bar: int, candles: FloatArray) -> tuple[FloatArray, float]:
        """(values with gaps bridged, the factor's close)."""
        values, filled = self._cleaning.take(bar, candles, self._engine.last_close)
        self._count("filled", filled)
        if self._factor_column is not None:
            self._factor_closes[bar % _REACH] = values[3, self._factor_column]
        return values, float(self._factor_closes[bar % _REACH])

    def _pass(self, bar: int, candles: FloatArray) -> None:
        (open_, high, low, close, volume), factor = self._clean(bar, candles)
        before = self._engine.run
        self._engine.warm(bar, open_, high, low, close, volume, factor)
        self._count("resets", int(np.count_nonzero((before > 0) & (self._engine.run == 0))))

    def _rows(self, bar: int, candles: FloatArray, refused: Mapping[str, Mapping[Refusal, int]]) -> FeatureRows:
        (open_, high, low, close, volume), factor = self._clean(bar, candles)
        before = self._engine.run
        stage = self._engine.step(bar, open_, high, low, close, volume, factor)
        self._count("resets", int(np.count_nonzero((before > 0) & (self._engine.run == 0))))
        codes = (self._engine.run < READY_BARS) + 2 * self._cleaning.sparse()
        codes += 4 * (self._engine.factor_run < FACTOR_BARS)
        ready = np.asarray(codes == 0)
        rows = np.ascontiguousarray(stage.values.T)
        rows[~ready] = np.nan
        return FeatureRows(
            products=self.products,
            bar=bar,
            granularity=self.granularity,
            values=rows,
            ready=ready,
            reasons=tuple([_REASON_SETS[code] for code in codes.tolist()]),
            sd_24=stage.sd_24,
            sd_168=stage.sd_168,
            bars_since_candle=self._cleaning.bars_since_candle(bar),
            refused=refused,
        )

    def _adopt(self, other: LiveFeatures) -> None:
        """Replaces or adds the columns of the other's products."""
        before = self._columns
        products = sorted({*self.products, *other.products})
        self._engine = self._engine.splice(other._engine)
        if self._engine.products != tuple(products):
            self._engine = self._engine.select(products)
        cleaning = LiveCleaning(len(products))
        self._index()
        places = [self._columns[product] for product in before]
        copy_columns(cleaning.arrays(), self._cleaning.arrays(), list(before.values()), places)
        places = [self._columns[product] for product in other.products]
        copy_columns(cleaning.arrays(), other._cleaning.arrays(), list(range(len(places))), places)
        self._cleaning = cleaning
