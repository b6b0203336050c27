"""The tables about probabilities: per block, mean, spread and per product, for the models and the class priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from modelkit.candles import BoolArray, FloatArray
from modelkit.labels import NO_LABEL, LabelRule, pays
from modelkit.metrics import ProbabilityMetrics, measure, precision_at, reliability
from training.fit import LearningTable
from training.walkforward import BlockPlan, Run, asked_rows

Document = dict[str, Any]
_FIGURES = ("log_loss", "brier", "ece_up", "auc_up_down")


def judge(table: LearningTable, run: Run, rule: LabelRule, blocks: Sequence[BlockPlan]) -> Document:
    """All figures of a model over these blocks."""
    masks = [matured(table, block) for block in blocks]
    pooled = np.logical_or.reduce(masks)
    found, outcomes = run.probabilities[pooled], table.labels[pooled]
    return {
        **_judged(table, rule, masks, lambda number, mask: run.probabilities[mask]),
        "reliability": [asdict(each) for each in reliability(found, outcomes)],
        "precision": [asdict(each) for each in precision_at(found, outcomes)],
        "base_rates": {"down": float(np.mean(outcomes == 0)), "up": float(np.mean(outcomes == 2))},
    }


def judge_priors(table: LearningTable, rule: LabelRule, blocks: Sequence[BlockPlan]) -> Document:
    """The class shares each block's model learned from, said of every row."""
    masks = [matured(table, block) for block in blocks]
    return _judged(table, rule, masks, lambda number, mask: np.tile(blocks[number].class_shares, (int(mask.sum()), 1)))


def matured(table: LearningTable, block: BlockPlan) -> BoolArray:
    """Rows of a block whose outcome is known."""
    return np.asarray(asked_rows(table, block.fold) & (table.labels != NO_LABEL))


def _judged(
    table: LearningTable,
    rule: LabelRule,
    masks: Sequence[BoolArray],
    said: Callable[[int, BoolArray], FloatArray],
) -> Document:
    folds = [_measure(table, rule, mask, said(number, mask)) for number, mask in enumerate(masks)]
    products = {}
    for row, name in enumerate(table.grid.products):
        own = [_only(mask, row) for mask in masks]
        answers = np.concatenate([said(number, mask) for number, mask in enumerate(own)])
        outcomes = np.concatenate([table.labels[mask] for mask in own])
        payable = np.concatenate([pays(table.barrier[mask], rule) for mask in own])
        products[name] = asdict(measure(answers, outcomes, payable))
    return {
        "folds": [asdict(each) for each in folds],
        "mean": {name: _over(folds, name, np.mean) for name in _FIGURES},
        "spread": {name: _over(folds, name, np.std) for name in _FIGURES},
        "products": products,
    }


def _measure(table: LearningTable, rule: LabelRule, mask: BoolArray, said: FloatArray) -> ProbabilityMetrics:
    return measure(said, table.labels[mask], pays(table.barrier[mask], rule))


def _only(mask: BoolArray, row: int) -> BoolArray:
    found = np.zeros(mask.shape, dtype=np.bool_)
    found[row] = mask[row]
    return found


def _over(folds: Sequence[ProbabilityMetrics], name: str, how: Callable[..., Any]) -> float | None:
    known = [getattr(each, name) for each in folds if getattr(each, name) is not None]
    return float(how(known)) if known else None
