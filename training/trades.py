"""Long or flat, trade by trade: from decisions to what was bought when, and what ended it.

A decision at a bar's close buys or sells at the next open. What is held ends by the first of a SELL and of what its entry comes
to by itself; the close of a bar that it ended in may decide to enter again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from modelkit.candles import BoolArray, FloatArray, IntArray
from training.exits import Entries, Exit

_INSIDE = (int(Exit.STOP), int(Exit.TARGET), int(Exit.TRAILING_STOP))


@dataclass(frozen=True, slots=True)
class Calls:
    """(..., T) each: where a rule would buy, and where it says that nothing is to be held."""

    buy: BoolArray
    sell: BoolArray


@dataclass(frozen=True, slots=True)
class Trades:
    """One entry for each trade of `rows` rows over `bars` bars, in no order.

    Held from the open after bar `begin` to the open after bar `end`, or, ended by a price, to that price in bar `end`.
    `open_to_paid` and `sold_to_open` are those of `Entries`.
    """

    rows: int
    bars: int
    row: IntArray
    begin: IntArray
    end: IntArray
    reason: IntArray
    open_to_paid: FloatArray
    sold_to_open: FloatArray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def inside(self) -> BoolArray:
        """True where a price inside a bar ended it."""
        return np.isin(self.reason, _INSIDE)

    @property
    def held(self) -> BoolArray:
        """(rows, T): True for every open from which something was held."""
        change = np.zeros((self.rows, self.bars + 1), dtype=np.int64)
        np.add.at(change, (self.row, self.begin), 1)
        np.add.at(change, (self.row, self.end), -1)
        return np.asarray(np.cumsum(change[:, :-1], axis=1) > 0)

    def only(self, row: int) -> Trades:
        found = self._take(self.row == row)
        return replace(found, rows=1, row=np.zeros_like(found.row))

    def part(self, begin: int, end: int) -> Trades:
        """Within [begin, end): what was held before is bought at its first open, what is held longer is sold at its last."""
        found = self._take((self.begin < end) & (self.end > begin))
        cut, late = found.begin < begin, found.end > end
        return replace(
            found,
            bars=end - begin,
            begin=np.maximum(found.begin, begin) - begin,
            end=np.minimum(found.end, end) - begin,
            reason=np.where(late, int(Exit.END), found.reason),
            open_to_paid=np.where(cut, 1.0, found.open_to_paid),
            sold_to_open=np.where(late, 1.0, found.sold_to_open),
        )

    def _take(self, chosen: BoolArray) -> Trades:
        return Trades(
            self.rows,
            self.bars,
            self.row[chosen],
            self.begin[chosen],
            self.end[chosen],
            self.reason[chosen],
            self.open_to_paid[chosen],
            self.sold_to_open[chosen],
        )


def calls_of(
    edge: FloatArray, barrier: FloatArray, round_trip_cost: float, theta_buy: FloatArray, theta_sell: FloatArray
) -> Calls:
    """Shaped as `edge` broadcast with the thresholds; a NaN edge decides nothing.

    Enter at an edge of `theta_buy` whose expected move pays the round trip; leave at -`theta_sell`. Where `theta_buy` is out of
    reach (1 or more) there is no evidence, and nothing is held.
    """
    with np.errstate(invalid="ignore"):
        enter = (edge >= theta_buy) & (edge * barrier > round_trip_cost)
        leave = (edge <= -theta_sell) | (theta_buy >= 1.0)
    return Calls(enter & ~leave, leave)


def trade(calls: Calls, entries: Entries, present: BoolArray) -> Trades:
    """Calls (..., P, T) of P products; the rows of the trades are all leading axes in one, products last.

    Every row goes on by one trade in each step, so that a step costs about the same for one rule as for many.
    """
    products, bars = present.shape
    enter = (calls.buy & entries.filled & present).reshape(-1, bars)
    next_enter, next_leave = _next(enter), _next(calls.sell.reshape(-1, bars))
    closing = np.where(present.any(axis=1), bars - present[:, ::-1].argmax(axis=1), 0)
    row, at = np.arange(len(enter)), np.zeros(len(enter), dtype=np.int64)
    found: list[tuple[IntArray, ...]] = []
    while len(row):
        begin = next_enter[row, at]
        row, begin = row[begin < bars], begin[begin < bars]
        product = row % products
        end, reason = _ends(begin, product, next_leave[row, begin + 1], closing, entries)
        found.append((row, begin, end, reason))
        at = end
    row, begin, end, reason = (np.concatenate(each) for each in zip(*found, strict=True))
    product = row % products
    by_itself = np.isin(reason, _INSIDE)
    sold = np.where(by_itself, entries.sold_to_open[product, begin], 1.0)
    return Trades(len(enter), bars, row, begin, end, reason, entries.open_to_paid[product, begin], sold)


def _ends(
    begin: IntArray, product: IntArray, told: IntArray, closing: IntArray, entries: Entries
) -> tuple[IntArray, IntArray]:
    """Where each trade ends and why. A price inside a bar comes before what is decided at that bar's close."""
    by_itself, why = begin + entries.life[product, begin], entries.reason[product, begin]
    last = closing[product]
    end = np.minimum(np.minimum(by_itself, told), last)
    first = (by_itself == end) & (np.isin(why, _INSIDE) | (by_itself < np.minimum(told, last)))
    return end, np.where(first, why, np.where(told < last, int(Exit.SELL), int(Exit.END)))


def _next(mask: BoolArray) -> IntArray:
    """(rows, T + 2): the first bar at or after each that is True, T where there is none."""
    bars = mask.shape[1]
    found = np.full((len(mask), bars + 2), bars)
    np.copyto(found[:, :bars], np.arange(bars), where=mask)
    return np.asarray(np.minimum.accumulate(found[:, ::-1], axis=1)[:, ::-1])
