"""Cuts the calendar into folds: learn, leave out a label's life, test; and a last block that is looked at once.

The cut is the same for all products, because coins move together: a later bar of one tells about an earlier one of
another. What the data do not allow is made smaller, and said.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

TRAIN_DAYS: Final = 730
TEST_DAYS: Final = 182
LEAST_TRAIN_DAYS: Final = 365
MOST_FOLDS: Final = 10
LEAST_FOLDS: Final = 6
LEAST_OUT_OF_SAMPLE_DAYS: Final = 730
_SHORTEST_TEST_DAYS = 14.0
_FIRST_TRAIN_SHARE = 0.45
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Fold:
    """Bar positions, ends exclusive. Rows of [train_begin, train_end) are learned from: the label of the last of
    them ends before `test_begin`."""

    number: int
    train_begin: int
    train_end: int
    test_begin: int
    test_end: int


@dataclass(frozen=True, slots=True)
class WalkForwardPlan:
    """`folds` choose, `final` judges what was chosen; `shortfall` says what the data did not allow."""

    folds: tuple[Fold, ...]
    final: Fold
    shortfall: tuple[str, ...]

    def fold_after(self, end: int) -> Fold:
        """What a model learns from that is made at `end`: as much as a fold does, up to the last known label."""
        span = self.final.test_begin - self.final.train_begin
        purge = self.final.test_begin - self.final.train_end
        return Fold(self.final.number + 1, max(0, end - span), end - purge, end, end)


def plan_walk_forward(first_row: int, bars: int, granularity: int, horizon: int) -> WalkForwardPlan:
    """Folds of a grid of `bars` whose first usable row is at `first_row`."""
    per_day = _DAY_SECONDS / granularity
    days = (bars - first_row) / per_day
    test_days, folds = _sizes(days)
    blocks = folds + 1
    first_test = bars - round(blocks * test_days * per_day)
    edges = [first_test + round(number * test_days * per_day) for number in range(blocks)] + [bars]
    longest = round(TRAIN_DAYS * per_day)
    cut = [
        Fold(number + 1, max(first_row, begin - longest), begin - horizon, begin, end)
        for number, (begin, end) in enumerate(pairwise(edges))
    ]
    return WalkForwardPlan(tuple(cut[:-1]), cut[-1], _shortfall(cut[0], test_days, folds, per_day))


def _sizes(days: float) -> tuple[float, int]:
    """Length of a test block, and the number of folds beside the final block."""
    first_train = min(LEAST_TRAIN_DAYS, _FIRST_TRAIN_SHARE * days)
    test = min(float(TEST_DAYS), (days - first_train) / (LEAST_FOLDS + 1))
    if test < _SHORTEST_TEST_DAYS:
        folds = max(1, int((days - first_train) / _SHORTEST_TEST_DAYS) - 1)
        return (days - first_train) / (folds + 1), folds
    with_full_training = int((days - TRAIN_DAYS) / test) - 1
    return test, min(MOST_FOLDS, max(LEAST_FOLDS, with_full_training))


def _shortfall(first: Fold, test_days: float, folds: int, per_day: float) -> tuple[str, ...]:
    train_days = (first.test_begin - first.train_begin) / per_day
    out_of_sample = folds * test_days
    said = []
    if folds < LEAST_FOLDS:
        said.append(f"{folds} folds instead of {LEAST_FOLDS}")
    if round(test_days) < TEST_DAYS:
        said.append(f"test blocks of {test_days:.0f} days instead of {TEST_DAYS}, the final one included")
    if out_of_sample < LEAST_OUT_OF_SAMPLE_DAYS:
        said.append(f"{out_of_sample:.0f} days out of sample instead of {LEAST_OUT_OF_SAMPLE_DAYS}")
    if round(train_days) < TRAIN_DAYS:
        said.append(f"the first fold learns from {train_days:.0f} days instead of {TRAIN_DAYS}")
    return tuple(said)
