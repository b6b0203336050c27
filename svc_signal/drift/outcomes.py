"""What became of a signal: its triple-barrier label and its next return, once its horizon has passed.

The label is the one that training learns from (`modelkit.labels`), on a grid of no more candles than it can see: a
signal was only ever made at a real candle, so what lies before it cannot change what follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelkit.candles import CandleArrays
from modelkit.features.cleaning import Grid, clean
from modelkit.labels import NO_LABEL, LabelRule, label

RETURN_BARS = 2
"""The next return runs from the open of the first bar after the decision to the open of the second."""


@dataclass(frozen=True, slots=True)
class AwaitedSignal:
    """A signal whose outcome is not known yet; `bar` is its absolute number, `sigma` is over the rule's horizon."""

    product_id: str
    bar: int
    sigma: float
    model_version: str
    rule: LabelRule


@dataclass(frozen=True, slots=True)
class MaturedLabel:
    """The outcome of a signal; `next_return` is a log return."""

    product_id: str
    bar: int
    model_version: str
    outcome: int
    next_return: float


def bars_to_wait(rule: LabelRule) -> int:
    """Bars after the signal's own that have to be there before everything about it is known."""
    return max(rule.horizon_bars, RETURN_BARS)


def mature(
    awaited: Sequence[AwaitedSignal], candles: Mapping[str, CandleArrays], granularity: int, last_bar: int
) -> list[MaturedLabel]:
    """Outcomes of the signals whose future up to `last_bar` is whole; the others have none.

    `candles` begin at the oldest signal's bar. A broken or sparse future gives no label, as in training.
    """
    due = [signal for signal in awaited if signal.bar + bars_to_wait(signal.rule) <= last_bar]
    if not due or not candles:
        return []
    grid = clean(candles, granularity, "", min(signal.bar for signal in due), last_bar)
    found: list[MaturedLabel] = []
    for rule in dict.fromkeys(signal.rule for signal in due):
        found += _under_rule([signal for signal in due if signal.rule == rule], grid, rule)
    return found


def _under_rule(signals: Sequence[AwaitedSignal], grid: Grid, rule: LabelRule) -> list[MaturedLabel]:
    row_of = {product: row for row, product in enumerate(grid.products)}
    known = [signal for signal in signals if signal.product_id in row_of]
    rows = [row_of[signal.product_id] for signal in known]
    columns = [signal.bar - grid.first_bar for signal in known]
    sigma = np.full(grid.close.shape, np.nan)
    sigma[rows, columns] = [signal.sigma for signal in known]
    outcomes = label(grid, sigma, np.isfinite(sigma), rule)
    log_open = np.log(grid.open)
    found = []
    for signal, row, column in zip(known, rows, columns, strict=True):
        outcome = int(outcomes[row, column])
        next_return = float(log_open[row, column + RETURN_BARS] - log_open[row, column + 1])
        if outcome != NO_LABEL and np.isfinite(next_return):
            found.append(MaturedLabel(signal.product_id, signal.bar, signal.model_version, outcome, next_return))
    return found
