"""Runs settings through the folds, and decides before each test block what may be used in it.

Temperature and thresholds of a block come from out-of-fold answers of the blocks before it, less a label's life at
the cut; the first block has none and holds. Nothing here sees a bar at or after the block it prepares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from modelkit.candles import BoolArray, FloatArray
from modelkit.decision import Thresholds
from modelkit.labels import NO_LABEL, Outcome
from modelkit.sampling import CLASSES
from training.calibration import Judged, corrected, proven_temperature
from training.evidence import ALWAYS_HOLD, HeldOut, ThresholdChoice, choose_thresholds
from training.fit import LearningTable
from training.walkforward_candidates import Candidate
from training.walkforward_fit import Answer, FitTask, answer, training_rows
from training.walkforward_parallel import Workers
from training.walkforward_plan import Fold

Answers = Mapping[tuple[str, int], Answer]
"""By name of the setting and number of the fold."""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What a setting takes into a test block: `choices` by round-trip cost."""

    fold: Fold
    temperature: float
    shares: FloatArray
    class_shares: FloatArray
    train_rows: int
    choices: Mapping[float, ThresholdChoice]


@dataclass(frozen=True, slots=True)
class Run:
    """One setting over consecutive blocks: probabilities (P, T, 3), NaN where none were given."""

    candidate: Candidate
    probabilities: FloatArray
    blocks: tuple[BlockPlan, ...]

    @property
    def edge(self) -> FloatArray:
        return np.asarray(self.probabilities[..., Outcome.UP] - self.probabilities[..., Outcome.DOWN])

    def thresholds(self, round_trip_cost: float) -> tuple[FloatArray, FloatArray]:
        """(T) each: what was chosen before the block of each bar; out of reach outside the blocks."""
        bars = self.probabilities.shape[1]
        buy, sell = np.full(bars, ALWAYS_HOLD.theta_buy), np.full(bars, ALWAYS_HOLD.theta_sell)
        for block in self.blocks:
            inside = slice(block.fold.test_begin, block.fold.test_end)
            chosen = block.choices[round_trip_cost].thresholds
            buy[inside], sell[inside] = chosen.theta_buy, chosen.theta_sell
        return buy, sell


def asked_rows(table: LearningTable, fold: Fold) -> BoolArray:
    """Every ready row of a test block."""
    mask = np.zeros(table.ready.shape, dtype=np.bool_)
    mask[:, fold.test_begin : fold.test_end] = table.ready[:, fold.test_begin : fold.test_end]
    return mask


def answers_of(
    table: LearningTable,
    folds: Sequence[Fold],
    candidates: Sequence[Candidate],
    seed: int,
    workers: Workers,
    done: Callable[[int, int], None],
) -> dict[tuple[str, int], Answer]:
    """Every setting on every fold; `done` receives how many of how many fits are known."""
    pairs = list(product(candidates, folds))

    def tasks() -> Iterator[FitTask]:
        for candidate, fold in pairs:
            rows, labels, weights = training_rows(table, fold, candidate)
            asked, _ = table.pick(asked_rows(table, fold))
            yield FitTask(candidate, seed, rows, labels, weights, asked)

    found = {}
    for number, (key, result) in enumerate(zip(pairs, workers.run(answer, tasks()), strict=True)):
        found[(key[0].name, key[1].number)] = result
        done(number + 1, len(pairs))
    return found


def assemble(
    table: LearningTable,
    folds: Sequence[Fold],
    candidate: Candidate,
    answers: Answers,
    costs: Sequence[float],
    seed: int,
) -> Run:
    """Puts a setting's answers together, block by block, each with what the blocks before it allow."""
    probabilities = np.full((*table.labels.shape, len(CLASSES)), np.nan)
    raw = np.full(probabilities.shape, np.nan)
    blocks: list[BlockPlan] = []
    for fold in folds:
        given = answers[(candidate.name, fold.number)]
        asked = asked_rows(table, fold)
        raw[asked] = given.raw
        temperature = proven_temperature(_judged(table, raw, blocks, fold))
        known = _held_out(table, probabilities, blocks, fold)
        choices = {cost: _choice(known, cost, seed) for cost in costs}
        probabilities[asked] = corrected(given.raw, given.shares, temperature)
        blocks.append(BlockPlan(fold, temperature, given.shares, given.class_shares, given.train_rows, choices))
    return Run(candidate, probabilities, tuple(blocks))


def _judged(table: LearningTable, raw: FloatArray, earlier: Sequence[BlockPlan], fold: Fold) -> list[Judged]:
    """Per earlier block the rows whose outcome was known when `fold` began."""
    found = []
    for block in earlier:
        end = min(block.fold.test_end, fold.train_end)
        part = np.s_[:, block.fold.test_begin : end]
        known = table.ready[part] & (table.labels[part] != NO_LABEL)
        found.append((raw[part][known], block.shares, table.labels[part][known]))
    return found


def _held_out(
    table: LearningTable, probabilities: FloatArray, earlier: Sequence[BlockPlan], fold: Fold
) -> HeldOut | None:
    if not earlier:
        return None
    edge = probabilities[..., Outcome.UP] - probabilities[..., Outcome.DOWN]
    return table.held_out(edge, earlier[0].fold.test_begin, fold.train_end)


def _choice(known: HeldOut | None, cost: float, seed: int) -> ThresholdChoice:
    return ThresholdChoice(ALWAYS_HOLD, ()) if known is None else choose_thresholds(known, cost, seed)


def fixed(thresholds: Thresholds, bars: int) -> tuple[FloatArray, FloatArray]:
    """The same thresholds at every bar, shaped as `Run.thresholds`."""
    return np.full(bars, thresholds.theta_buy), np.full(bars, thresholds.theta_sell)
